"""The claims that are made of explanations, one experiment each: see `experiments._experiment`."""
