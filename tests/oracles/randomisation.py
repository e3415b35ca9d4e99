"""Explanations of random models: the gradient of a perceptron, histograms and structural similarity, by loops."""

import numpy as np


def saliency(layers, x, target):
    """The magnitude of the gradient of an output; tanh between the layers."""
    hidden, slopes = np.asarray(x, np.float64), []
    for W, b in layers[:-1]:
        hidden = np.tanh(hidden @ W + b)
        slopes.append(1 - hidden**2)
    g = np.asarray(layers[-1][0])[:, target]
    for (W, _), slope in zip(layers[:-1][::-1], slopes[::-1], strict=True):
        g = W @ (slope * g)
    return np.abs(g)


def entropy(a, num_bins):
    """Of a histogram between the lowest and the highest value, which belongs to the last bin."""
    a = np.ravel(a)
    width = (a.max() - a.min()) / num_bins
    counts = [0] * num_bins
    for v in a:
        counts[min(int((v - a.min()) / width), num_bins - 1)] += 1
    return -sum(n / len(a) * np.log(n / len(a)) for n in counts if n)


def ssim(a, b, width):
    """Wang et al. (2004), window by window: 11 x 11, a Gaussian of 1.5."""
    place = np.arange(11) - 5
    g = np.exp(-(place**2) / (2 * 1.5**2))
    window = np.outer(g, g) / g.sum() ** 2
    c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
    found = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            u, v = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mu, mv = (window * u).sum(), (window * v).sum()
            vu, vv = (window * (u - mu) ** 2).sum(), (window * (v - mv) ** 2).sum()
            both = (window * (u - mu) * (v - mv)).sum()
            above = (2 * mu * mv + c1) * (2 * both + c2)
            found.append(above / ((mu**2 + mv**2 + c1) * (vu + vv + c2)))
    return np.mean(found)
