"""Conservation (Bach et al., PLoS ONE 2015), what layer-wise relevance propagation promises, as a number.

Notation: R_i the relevance of feature i, f(x) the score of the input.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.metrics._features import positions
from xaijax.metrics._metric import metric


class Conservation(NamedTuple):
    """The sum of the relevances, against the score.

    Attributes:
      total: the sum of the relevances.
      score: the score of the input.
      gap: how far they are apart.
      relative: the same as a part of the score; NaN if that is 0.
    """

    total: Float[Array, ""]
    score: Float[Array, ""]
    gap: Float[Array, ""]
    relative: Float[Array, ""]


@metric("axiomatic", "lower", read="relative")
def conservation(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
) -> Conservation:
    r"""How far the relevances are from adding up to the score.

    .. math:: \frac{\big| \sum_i R_i - f(x) \big|}{|f(x)|}

    What is absorbed on the way is missing: by biases, by the epsilon of a rule, by rules that do not conserve.
    `xaijax.lrp_audit` tells where. Differs from the paper, which asks for equality, in that it is a number.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: the relevances, in the shape of `x` or without its channels.

    Returns:
      The part of the score that is missing or too much, 0-d, at least 0; NaN if the score is 0. Lower is better.
      `conservation.details` takes the same arguments and gives the `Conservation`.

    Raises:
      ValueError: the attribution does not fit `x`, or is not finite (traced: NaN); `f` gives no vector, or `target` is
        out of range (traced: NaN).
      TypeError: the attribution or `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0]) + 1])
      >>> conservation(f, jnp.array([1.0, 1.0]), 0, jnp.array([1.0, 2.0]))  # the bias is missing
      Array(0.25, dtype=float32)

    References:
      bach2015pixelwise
    """
    positions("conservation", f, x, attribution)
    wide = jnp.promote_types(attribution.dtype, jnp.float32)
    total = attribution.astype(wide).sum()
    value = score(lower(f)(x), target, where="conservation").astype(wide)
    gap = jnp.abs(total - value)
    none = value == 0
    relative = jnp.where(none, jnp.nan, gap / jnp.where(none, 1, jnp.abs(value)))
    return Conservation(total, value, gap, relative)
