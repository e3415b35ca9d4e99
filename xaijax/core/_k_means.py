"""K-means: a few rows that stand for a table, with how many rows each of them stands for.

Lloyd, "Least squares quantization in PCM", 1982, as the package `shap` summarises a background set.
"""

import importlib.util
from typing import Any

import numpy as np
from jaxtyping import Float

from xaijax.core._errors import check_positive, complaint


def k_means(
    rows: Float[np.ndarray, "n *shape"], k: int
) -> tuple[Float[np.ndarray, "k *shape"], Float[np.ndarray, " k"]]:
    """Summarise a table by the centres of k clusters: a background set for `columns` of far fewer rows.

    Each value of a centre is moved to the nearest one of its column, so a column of whole numbers or of a one-hot code
    keeps valid values. Runs scikit-learn's `KMeans`, outside of jit, always with the same seed.

    Differs from `shap.kmeans` in refusing missing values instead of filling in the mean, and in leaving out the
    clusters without rows that duplicated rows cause.

    Args:
      rows: the table, `(n, *shape of x)`.
      k: how many clusters, at most n.

    Returns:
      The centres `(k, *shape of x)` and how many rows are in each of their clusters `(k,)`; the latter sum to n.
      `columns(*k_means(rows, k))` hides features by them.

    Raises:
      ValueError: `k` < 1 or more than there are rows, or `rows` are not finite.
      TypeError: `k` is no integer.
      ModuleNotFoundError: scikit-learn is not installed.

    Examples:
      >>> centres, weights = k_means(np.array([[0.0], [1.0], [1.1], [9.0]]), 2)
      >>> order = weights.argsort()  # the centre of 0, 1 and 1.1 is 0.7
      >>> centres[order], weights[order]
      (array([[9.],
             [1.]]), array([1., 3.]))

    References:
      lloyd1982least
    """
    rows = np.asarray(rows)
    check_positive("k_means", k=k)
    if rows.ndim < 1 or k > len(rows):
        rule = "be at most the number of rows"
        raise ValueError(complaint("k_means", "k", rule, f"{k} for rows of shape {rows.shape}"))
    if not np.isfinite(rows).all():
        fix = "Impute or drop these rows first."
        raise ValueError(complaint("k_means", "rows", "be finite", "NaN or infinite values", fix))
    if importlib.util.find_spec("sklearn") is None:
        raise ModuleNotFoundError(
            "k_means needs scikit-learn, which is not installed: pip install scikit-learn"
        )
    from sklearn.cluster import KMeans

    table = rows.reshape(len(rows), -1)
    settings: dict[str, Any] = {"n_init": 10, "random_state": 0}
    found = KMeans(k, **settings)
    weights = np.bincount(found.fit_predict(table), minlength=k).astype(float)
    centres = found.cluster_centers_[weights > 0]
    nearest = [abs(c[:, None] - m).argmin(0) for c, m in zip(table.T, centres.T, strict=True)]
    centres = np.take_along_axis(table, np.stack(nearest, 1), 0)
    return centres.reshape(-1, *rows.shape[1:]), weights[weights > 0]
