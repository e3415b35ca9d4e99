"""Grad-CAM (Selvaraju et al. 2017), one sum at a time."""

import numpy as np


def channel_weights(G):
    """Eq. (1): the mean of the gradient over the positions. `G` is (*positions, K)."""
    G = np.asarray(G, np.float64)
    positions = list(np.ndindex(G.shape[:-1]))
    alpha = np.zeros(G.shape[-1])
    for k in range(G.shape[-1]):
        for place in positions:
            alpha[k] += G[place][k]
    return alpha / len(positions)


def grad_cam(A, G):
    """Eq. (2): the positive part of the weighted sum of the channels."""
    A = np.asarray(A, np.float64)
    alpha = channel_weights(G)
    cam = np.zeros(A.shape[:-1])
    for place in np.ndindex(cam.shape):
        cam[place] = max(sum(alpha[k] * A[place][k] for k in range(len(alpha))), 0.0)
    return cam
