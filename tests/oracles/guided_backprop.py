"""Guided backpropagation (Springenberg et al. 2015) and DeconvNet (Zeiler & Fergus 2014), one unit at a time."""

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


def backward(layers, x, R, passes):
    """The signal at the input, from R at the outputs; a rectifier lets it by where `passes(f, R)`."""
    for (W, _), f in list(zip(layers, [None, *forward(layers, x)[:-1]], strict=True))[::-1]:
        below = np.zeros(len(W[0]))
        for j in range(len(below)):
            below[j] = sum(W[k][j] * R[k] for k in range(len(W)))
            if f is not None and not passes(f[j], below[j]):
                below[j] = 0.0
        R = below
    return R


def guided_backprop(layers, x, R):
    return backward(layers, x, R, lambda f, R: f > 0 and R > 0)


def deconvnet(layers, x, R):
    return backward(layers, x, R, lambda f, R: R > 0)
