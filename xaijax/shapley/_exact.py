"""Shapley values by their definition (Shapley 1953, A value for n-person games).

Notation: M the number of features, v(S) the score of the input with only the features in S kept.
"""

from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._score import Target
from xaijax.shapley._scores import every_score


@explainer(
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("batch_size",),
)
def exact_shapley(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    mask: Mask | None = None,
    batch_size: int | None = None,
) -> Array:
    r"""Shapley values of an input's features, from the scores of all coalitions.

    .. math::
        \phi_i = \sum_{S \subseteq F \setminus \{i\}} \frac{|S|!\,(M - |S| - 1)!}{M!}
        \big(v(S \cup \{i\}) - v(S)\big)

    Nothing is random. It takes 2^M evaluations, so at most 20 features: a thousand evaluations for 10, a million for
    20. `permutation_shap` and `kernel_shap` estimate the same of any number of features.

    Differs from the paper in nothing: its game is the model's score of the input with features hidden.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      mask: what the features are and how they are hidden: `segments`, `columns`, `tokens`. By default each element
        of `x` against zero.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. The
      features' values sum to the score of `x` minus that of the input with everything hidden.

    Raises:
      ValueError: more than 20 features, `batch_size` < 1, `f` gives no vector, `target` is out of range (traced:
        NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`).

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x.max()])
      >>> exact_shapley(f, jnp.array([2.0, 3.0, 5.0]), 0)  # nothing of 6 without either of the two
      Array([3., 3., 0.], dtype=float32)

    References:
      shapley1953value
      lundberg2017unified
    """
    mask = default_mask("exact_shapley", x, mask)
    v, M = game("exact_shapley", f, x, target, mask), mask.num_features
    y = every_score("exact_shapley", v, M, batch_size)
    wide = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    return paint(mask, mean_gains(wide, M, shapley_weights(M)).astype(y.dtype))


def mean_gains(y: Float[Array, " 2**M"], M: int, weight: Sequence[float]) -> Float[Array, " M"]:
    """Of each feature what it adds to the coalitions of the others, weighted by their size, summed.

    Args:
      y: the scores of all coalitions, by the number whose bits say which features are kept.
      M: how many features there are.
      weight: of a coalition of 0, ..., M - 1 features.
    """
    return jnp.stack([_weighted(gains(y, i), M - 1, weight) for i in range(M)])


def gains(y: Float[Array, " 2**M"], i: int) -> Float[Array, " 2**(M-1)"]:
    """What feature i adds to each coalition of the others, by the number of their bits."""
    without, with_ = jnp.moveaxis(y.reshape(-1, 2, 2**i), 1, 0)
    return (with_ - without).reshape(-1)


def shapley_weights(M: int) -> list[float]:
    """|S|! (M - |S| - 1)! / M! for coalitions of 0, ..., M - 1 features."""
    return [1 / (M * comb(M - 1, s)) for s in range(M)]


def _weighted(y: Float[Array, " 2**M"], M: int, weight: Sequence[float]) -> Float[Array, ""]:
    size = lax.population_count(jnp.arange(2**M))
    return (jnp.asarray(weight, y.dtype)[size] * y).sum()
