"""The gradient family on y = v . tanh(W x + b), and blurs by mirrored cosines: one sum at a time."""

import numpy as np


def hidden(net, x):
    """Activations A before the tanh, and H after it."""
    W, b, _ = net
    A = np.array([sum(W[k][i] * x[i] for i in range(len(x))) + b[k] for k in range(len(W))])
    return A, np.tanh(A)


def score(net, x):
    return sum(v * h for v, h in zip(net[2], hidden(net, x)[1], strict=True))


def activation_gradient(net, x):
    """dy/dA, before the tanh."""
    A, _ = hidden(net, x)
    return np.array([v * (1 - np.tanh(a) ** 2) for v, a in zip(net[2], A, strict=True)])


def gradient(net, x):
    """dy/dx."""
    G = activation_gradient(net, x)
    return np.array([sum(G[k] * net[0][k][i] for k in range(len(G))) for i in range(len(x))])


def nodes(rule, n):
    """The points of [0, 1] and their weights."""
    if rule == "midpoint":
        return [((k + 0.5) / n, 1 / n) for k in range(n)]
    # Golub & Welsch (1969): the eigenvalues of the Jacobi matrix of the Legendre polynomials.
    beta = [k / np.sqrt(4 * k**2 - 1) for k in range(1, n)]
    values, vectors = np.linalg.eigh(np.diag(beta, 1) + np.diag(beta, -1))
    return [((values[k] + 1) / 2, vectors[0, k] ** 2) for k in range(n)]


def integrated_gradients(net, x, baselines, rule, n):
    total = np.zeros(len(x))
    for start in baselines:
        for alpha, weight in nodes(rule, n):
            G = gradient(net, start + alpha * (x - start))
            total += weight * (x - start) * G / len(baselines)
    return total


def internal_influence(net, x, baselines, rule, n):
    total = np.zeros(len(net[0]))
    for start in baselines:
        for alpha, weight in nodes(rule, n):
            total += weight * activation_gradient(net, start + alpha * (x - start)) / len(baselines)
    return total


def conductance(net, x, baselines, n):
    """Of the units A: what the score gains with them in each of n steps, by the mean slope of both ends."""
    total = np.zeros(len(net[0]))
    for start in baselines:
        for k in range(n):
            ends = [start + (k + end) / n * (x - start) for end in (0, 1)]
            A, G = ([of(net, end) for end in ends] for of in (units, activation_gradient))
            total += (G[0] + G[1]) / 2 * (A[1] - A[0]) / len(baselines)
    return total


def units(net, x):
    return hidden(net, x)[0]


def blur(x, sigma):
    """The heat flow of an image `(h, w, channels)` until the time sigma^2 / 2; nothing leaves its edges."""
    for axis in (0, 1):
        x = np.apply_along_axis(_blur, axis, x, sigma)
    return x


def _blur(row, sigma):
    n, out = len(row), np.zeros(len(row))
    for k in range(n):
        wave = np.cos(np.pi * k * (np.arange(n) + 0.5) / n)
        fade = np.exp(-((sigma * np.pi * k / n) ** 2) / 2)
        out += fade * (row @ wave) / (wave @ wave) * wave
    return out
