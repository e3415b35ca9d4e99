"""Banzhaf values by maximum sample reuse (Wang & Jia, AISTATS 2023; arXiv:2205.15466).

Notation: M the number of features, z in {0, 1}^M a coalition, v(z) its score.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._sampling import random_bits
from xaijax.core._score import Target
from xaijax.shapley._scores import FEWEST_SAMPLES, GameValues, estimate

# Each feature is in half of them: in, and out of, twice as many as tell their spread.
_FEWEST_COALITIONS = 4 * FEWEST_SAMPLES

_banzhaf_explainer = functools.partial(
    explainer,
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "batch_size"),
    not_negative=("tolerance",),
)


@_banzhaf_explainer(attribution=False)
def banzhaf_values(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int = 1000,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> GameValues:
    """The values of `banzhaf` with their standard errors; the arguments are those of `banzhaf`.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: decides the coalitions; the same for a whole batch means the same coalitions for all.
      mask: what the features are and how they are hidden; by default each element of `x` against zero.
      num_samples: coalitions to score, besides none and all. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, their standard errors as differences of two means, the scores of nothing and everything, the work
      done, and whether and how it converged. The errors are infinite where a feature was in, or out of, fewer than
      two coalitions.

    Raises:
      ValueError: as `banzhaf`.

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1]])
      >>> result = banzhaf_values(f, jnp.ones(2), 0, jax.random.key(0))
      >>> bool((jnp.abs(result.values - 0.5) < 4 * result.standard_error).all())
      True

    References:
      banzhaf1965weighted
      wang2023data
    """
    settings = (num_samples, tolerance, batch_size)
    return _estimate("banzhaf_values", f, x, target, key, mask, *settings)


@_banzhaf_explainer()
def banzhaf(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int = 1000,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> Array:
    r"""Banzhaf values of an input's features: what each contributes to a coalition, all of them alike.

    .. math::
        \phi_i = \frac{1}{2^{M-1}} \sum_{S \subseteq F \setminus \{i\}} v(S \cup \{i\}) - v(S)
        \approx \operatorname*{mean}_{z:\, z_i = 1} v(z) - \operatorname*{mean}_{z:\, z_i = 0} v(z)

    Each sampled coalition keeps each feature with probability 1/2 and counts for every feature, in one mean or the
    other. Shapley values weight coalitions by their size instead. Banzhaf values do not share the difference between
    everything and nothing; by the paper their order survives more noise of the scores than that of any other such
    weighting.

    Differs from the paper in nothing: its utility of a data set is the score of the input with features hidden.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the coalitions; the same for a whole batch means the same coalitions for all.
      mask: what the features are and how they are hidden: `segments`, `columns`, `tokens`. By default each element
        of `x` against zero.
      num_samples: coalitions to score, besides none and all. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score. It is looked at after 32
        coalitions and then each time there are about 1.4 times as many; by default all are scored. It has no gradient
        (a `while` loop).
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. In units of
      the score; they sum to nothing in particular.

    Raises:
      ValueError: `num_samples` or `batch_size` < 1, `tolerance` < 0, `f` gives no vector, `target` is out of range
        (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`), or `key` is no typed key.

    Examples:
      >>> f = lambda x: jnp.stack([3.0 * x[0]])
      >>> [f"{value:.3f}" for value in banzhaf(f, jnp.array([2.0]), 0, jax.random.key(0))]
      ['6.000']

    References:
      banzhaf1965weighted
      wang2023data
    """
    mask = default_mask("banzhaf", x, mask)
    settings = (num_samples, tolerance, batch_size)
    return paint(mask, _estimate("banzhaf", f, x, target, key, mask, *settings).values)


def _estimate(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask | None,
    num_samples: int,
    tolerance: float | None,
    batch_size: int | None,
) -> GameValues:
    mask = default_mask(where, x, mask)
    v, M = game(where, f, x, target, mask), mask.num_features
    chunk = v.chunk_size(batch_size, 2 + num_samples)
    Z = random_bits(key, num_samples, M)

    def fit(none: Array, all_: Array, y: Array, counted: Array) -> tuple[Array, Array]:
        with jax.default_matmul_precision("highest"):
            y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
            # From their mean, so that no digits are lost in the squares.
            y = y - y.mean(where=counted)
            inside, outside = (_mean(side & counted[:, None], y) for side in (Z, ~Z))
        return inside[0] - outside[0], jnp.sqrt(inside[1] + outside[1])

    return estimate(
        v,
        lambda row: Z[row],
        fit,
        num_samples=num_samples,
        per_sample=1,
        least=_FEWEST_COALITIONS,
        chunk=chunk,
        tolerance=tolerance,
    )


def _mean(
    Z: Bool[Array, "n M"], y: Float[Array, " n"]
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """The mean score of the coalitions with a feature, and the variance of that mean."""
    Z = Z.astype(y.dtype)
    number = Z.sum(0)
    mean = Z.T @ y / jnp.maximum(number, 1)
    squares = jnp.maximum(Z.T @ y**2 - number * mean**2, 0)
    variance = squares / jnp.maximum(number - 1, 1) / jnp.maximum(number, 1)
    return mean, jnp.where(number > 1, variance, jnp.inf)
