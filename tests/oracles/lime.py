"""LIME (Ribeiro et al. 2016) on given samples, with the kernel of its reference implementation."""

from typing import NamedTuple

import numpy as np


class Surrogate(NamedTuple):
    coefficients: np.ndarray
    intercept: float
    r2: float


def sample_weights(Z, kernel_width):
    """exp(-D^2 / 2 sigma^2), D the cosine distance between a mask and the mask of ones."""
    weights = []
    for z in np.asarray(Z, np.float64):
        norms = np.linalg.norm(z) * np.sqrt(len(z))
        distance = 1.0 - (z.sum() / norms if norms else 0.0)
        weights.append(np.exp(-(distance**2) / (2 * kernel_width**2)))
    return np.array(weights)


def ridge_regression(X, y, weights, ridge):
    """Weighted ridge with a free intercept: least squares on the rows and one more per coefficient."""
    X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
    root = np.sqrt(np.asarray(weights, np.float64))
    num_samples, num_features = X.shape
    system = np.zeros((num_samples + num_features, 1 + num_features))
    system[:num_samples, 0] = root
    system[:num_samples, 1:] = root[:, None] * X
    system[num_samples:, 1:] = np.sqrt(ridge) * np.eye(num_features)
    goal = np.concatenate([root * y, np.zeros(num_features)])
    solution = np.linalg.lstsq(system, goal, rcond=None)[0]
    residual = y - solution[0] - X @ solution[1:]
    spread = y - (root**2 @ y) / (root**2).sum()
    with np.errstate(invalid="ignore"):
        r2 = 1 - (root**2 @ residual**2) / (root**2 @ spread**2)
    return Surrogate(solution[1:], solution[0], r2)


def lime(Z, y, kernel_width=0.25, ridge=1.0):
    return ridge_regression(Z, y, sample_weights(Z, kernel_width), ridge)


def forward_selection(Z, y, weights, num_features):
    """One feature after the other, each time the one with the best fit of all that may follow."""
    chosen = []
    for _ in range(num_features):
        rest = [j for j in range(Z.shape[1]) if j not in chosen]
        fits = [ridge_regression(Z[:, [*chosen, j]], y, weights, 0.0).r2 for j in rest]
        chosen.append(rest[int(np.argmax(fits))])
    return set(chosen)


def highest_weights(Z, y, weights, num_features):
    """The largest terms, at the first row, of a surrogate of all features with a ridge of 0.01."""
    terms = np.abs(ridge_regression(Z, y, weights, 0.01).coefficients * Z[0])
    return set(sorted(range(len(terms)), key=lambda j: -terms[j])[:num_features])


def submodular_pick(W, num_picks):
    """Algorithm 1 of the paper; of equals the last."""
    W = np.abs(W)
    importance, picked = np.sqrt(W.sum(0)), []
    for _ in range(num_picks):
        rest = [i for i in range(len(W)) if i not in picked]
        coverage = [sum(importance[(W[[*picked, i]] > 0).any(0)]) for i in rest]
        best = max(coverage)
        picked.append([i for i, c in zip(rest, coverage, strict=True) if np.isclose(c, best)][-1])
    return picked


def neighbor_weights(Z, kernel_width):
    """exp(-D^2 / 2 sigma^2), D the Euclidean distance of each row from the first."""
    return np.exp([-((z - Z[0]) ** 2).sum() / (2 * kernel_width**2) for z in Z])
