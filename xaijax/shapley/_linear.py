"""Shapley values of a linear model in closed form (Lundberg & Lee, NeurIPS 2017, Corollary 1; arXiv:1705.07874v2).

Notation: y = w x + b the score of the target, x the input, x' a row of the background.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.experimental import checkify
from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._lower import lower
from xaijax.core._sampling import chunk_size
from xaijax.core._score import Target, is_checking, score
from xaijax.core._score_gradient import input_gradient
from xaijax.gradient._path import mean_of, stacked


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="linear model",
    static=("batch_size",),
    baselines=("background",),
)
def linear_shap(
    f: Callable[[Any], Any],
    x: Float[Array, "*shape"],
    target: Target,
    *,
    background: Any,
    batch_size: int | None = None,
) -> Float[Array, "*shape"]:
    r"""Shapley values of a linear model: each weight times how far the feature is from its mean.

    .. math::
        \phi_i = w_i \, (x_i - \operatorname{E} x'_i)

    The weights are the gradient of the score: a linear or logistic regression before its link function, or any other
    model that computes such a score. Of correlated features each keeps its own part: the absent ones are drawn
    independently of those present, as by `columns`.

    A model that is not linear would get a plausible wrong answer. So the values are held against the scores, whose
    difference they must share: NaN everywhere if they do not; `xaijax.checked` makes that an error.

    Differs from the paper in nothing.

    Args:
      f: the model, one example to `(num_outputs,)`: scores that are linear in `x`, not probabilities.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a linear function
        `outputs -> scalar`.
      background: what features are when they are absent: rows `(n, *x.shape)`, such as the training data.
      batch_size: how many rows at once, besides `x` itself; by default what stays in the cache. Static.

    Returns:
      One signed number for each element of `x`, in units of the score. They sum to the score of `x` less the mean
      score of the background.

    Raises:
      ValueError: the background has another shape or is not finite, `f` gives no vector, `target` is out of range
        (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced, `x` is not one float array, or `background` is missing.

    Examples:
      >>> f = lambda x: x @ jnp.array([[2.0], [3.0]]) + 1.0
      >>> rows = jnp.array([[1.0, 5.0], [3.0, 7.0]])
      >>> linear_shap(f, jnp.array([4.0, 0.0]), 0, background=rows)
      Array([  4., -18.], dtype=float32)
      >>> linear_shap(lambda x: f(x) ** 2, jnp.array([4.0, 0.0]), 0, background=rows)
      Array([nan, nan], dtype=float32)

    References:
      lundberg2017unified
    """
    where = "linear_shap"
    rows, fast = stacked(background, x), lower(f)
    chunk = chunk_size(where, batch_size, len(rows), x)

    def y(x: Array) -> Float[Array, ""]:
        return score(fast(x), target, where=where)

    here = y(x)
    w = input_gradient(where, f, target)(x)
    # Less x, so that nothing is lost where the features are large and vary little.
    away: Array
    away, there = mean_of(lambda k: (x - rows[k], y(rows[k])), (x, here), len(rows), chunk)
    phi = w * away
    # What rounding may leave of the sums, with room to spare: a part of their largest terms.
    size = jnp.abs(w * x).sum() + jnp.abs(phi).sum() + jnp.abs(here) + jnp.abs(there)
    gap = jnp.abs(phi.sum() - (here - there))
    linear = gap <= jnp.sqrt(jnp.finfo(x.dtype).eps) * size
    if is_checking():
        message = (
            "linear_shap: f must be linear in x, got a score that misses the values' sum by {gap}."
        )
        checkify.check(linear, message, gap=gap)
    return jnp.where(linear, phi, jnp.nan)
