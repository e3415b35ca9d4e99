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
