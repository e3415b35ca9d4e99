"""Completeness (Sundararajan, Taly & Yan, ICML 2017; arXiv:1703.01365v2), an axiom, as a number.

Notation: a_i the attribution of feature i, f(x) the score of the input, x' the baseline.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._mask import Mask
from xaijax.core._sampling import map_chunks
from xaijax.core._score import Target
from xaijax.metrics._features import features
from xaijax.metrics._metric import metric


class Completeness(NamedTuple):
    """The sum of an attribution, against what it should be.

    Attributes:
      total: the sum of the attribution.
      difference: the score of the input less that of the baseline.
      gap: how far they are apart.
      relative: the same as a part of the difference; NaN if that is 0.
    """

    total: Float[Array, ""]
    difference: Float[Array, ""]
    gap: Float[Array, ""]
    relative: Float[Array, ""]


@metric("axiomatic", "lower", read="gap", baseline=("baseline",))
def completeness(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    *,
    baseline: Any = 0.0,
    mask: Mask | None = None,
) -> Completeness:
    r"""How far the attributions are from adding up to what the score owes to the input.

    .. math:: \Big| \sum_i a_i - \big( f(x) - f(x') \big) \Big|

    Differs from the paper, which asks whether it is 0, in that it is a number. Quantus asks so of normalised
    attributions, for which it never is.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is hidden
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      baseline: :math:`x'`, a number, or an array that broadcasts to `x`: the one that the explainer took.
      mask: what the features are and how they are hidden, instead of positions and baseline: `segments`, `columns`,
        `tokens`. A painted attribution is averaged over each feature; then :math:`f(x')` is the score with all features
        hidden.

    Returns:
      The gap, 0-d, in units of the score, at least 0; NaN if the attribution is not finite. Lower is better.
      `completeness.details` takes the same arguments and gives the `Completeness`, with the gap as a part of the
      difference.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not
        broadcast to `x`; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x[0] * x[1] + 1])
      >>> completeness(f, jnp.array([2.0, 3.0]), 0, jnp.array([3.0, 3.0]))  # integrated gradients
      Array(0., dtype=float32)
      >>> completeness.details(f, jnp.array([2.0, 3.0]), 0, jnp.array([6.0, 6.0])).relative  # input times gradient
      Array(1., dtype=float32)

    References:
      sundararajan2017axiomatic
    """
    v, values = features("completeness", f, x, target, attribution, mask, baseline)
    all_or_none = jnp.arange(2)[:, None].repeat(values.shape[0], 1) == 0
    with_it, without = map_chunks(v, all_or_none, v.chunk_size(None, 2)).astype(values.dtype)
    total, difference = values.sum(), with_it - without
    gap = jnp.abs(total - difference)
    none = difference == 0
    relative = jnp.where(none, jnp.nan, gap / jnp.where(none, 1, jnp.abs(difference)))
    return Completeness(total, difference, gap, relative)
