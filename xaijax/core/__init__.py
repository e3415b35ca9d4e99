"""The vocabulary all methods share: models, scores, layers, masks, sampling. It knows no method."""
