"""Deep SHAP (Lundberg & Lee, NeurIPS 2017; arXiv:1705.07874v2): DeepLIFT over a background set.

Notation: y the score of the target, x the input, x' a row of the background.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._sampling import chunk_size
from xaijax.core._score import Target
from xaijax.gradient._path import mean_of, stacked
from xaijax.propagation._multipliers import contributions


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("batch_size",),
    baselines=("background",),
)
def deep_shap(
    f: Callable[[Any], Any],
    x: Float[Array, "*shape"],
    target: Target,
    *,
    background: Any,
    batch_size: int | None = None,
) -> Float[Array, "*shape"]:
    r"""Deep SHAP: the mean of `deep_lift` over a background set, which approximates Shapley values.

    .. math::
        \phi_i = \frac{1}{n} \sum_{k=1}^n (x_i - x'_{ki}) \, m_i(x, x'_k)

    Shapley values of what? Of the features as players, absent ones drawn from the background independently of those
    present. Exact for a linear model and for a function of single features; otherwise an approximation, which errs
    where features interact inside the network.

    Differs from the paper in its rules for maxima and products: see `deep_lift`.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      background: what features are when they are absent: rows `(n, *x.shape)`, such as a part of the training data.
      batch_size: how many rows at once, besides `x` itself; by default what stays in the cache. Static.

    Returns:
      One signed number for each element of `x`, in units of the score. They sum to the score of `x` less the mean
      score of the background.

    Raises:
      NotImplementedError: an operation of the model has no rule: it is named.
      ValueError: the background has another shape or is not finite; and as `deep_lift`.
      TypeError: as `deep_lift`; `background` is missing.

    Examples:
      >>> f = lambda x: x * jnp.array([2.0, 3.0])
      >>> rows = jnp.array([[1.0, 5.0], [3.0, 7.0]])
      >>> deep_shap(f, jnp.array([4.0, 0.0]), jnp.ones(2), background=rows)
      Array([  4., -18.], dtype=float32)

    References:
      lundberg2017unified
      shrikumar2017deeplift
    """
    rows = stacked(background, x)
    n = len(rows)
    chunk = chunk_size("deep_shap", batch_size, n, x)
    num_chunks = math.ceil(n / chunk)
    # The last chunk is filled up with a row again, not with x: so the pass at the rows is that of all examples.
    order = jnp.minimum(jnp.arange(num_chunks * chunk), n - 1).reshape(num_chunks, chunk)
    counts = (jnp.arange(num_chunks * chunk) < n).reshape(num_chunks, chunk, *[1] * x.ndim)

    def part(k: Array) -> Array:
        found = contributions("deep_shap", f, x, target, rows[order[k]])
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.where(counts[k], found.astype(wide), 0).sum(0) * (num_chunks / n)

    return mean_of(part, x, num_chunks, 1)
