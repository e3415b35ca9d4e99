"""DeepLIFT with the rescale rule (Shrikumar et al. 2017), one unit at a time."""

import numpy as np


def forward(layers, x):
    """What comes before each rectifier of W_n relu(... relu(W_1 x + b_1)) + b_n; the last are the outputs."""
    values = []
    for W, b in layers:
        z = np.zeros(len(W))
        for k in range(len(W)):
            z[k] = sum(W[k][j] * x[j] for j in range(len(x))) + b[k]
        values.append(z)
        x = [max(v, 0.0) for v in z]
    return values


def deep_lift(layers, x, baseline, weights):
    """The contributions to the difference of the weighted outputs: equations (3) to (5) and the rescale rule."""
    here, there = forward(layers, x), forward(layers, baseline)
    m = np.array(weights, np.float64)  # of the outputs
    for n in reversed(range(len(layers))):
        if n < len(layers) - 1:
            for k in range(len(m)):
                before = here[n][k] - there[n][k]
                after = max(here[n][k], 0.0) - max(there[n][k], 0.0)
                m[k] *= after / before
        W = layers[n][0]
        m = np.array([sum(W[k][j] * m[k] for k in range(len(W))) for j in range(len(W[0]))])
    return (np.asarray(x) - np.asarray(baseline)) * m
