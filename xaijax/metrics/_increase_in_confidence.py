"""Increase in confidence (Chattopadhay et al., WACV 2018; arXiv:1710.11063).

Notation: x the input, L the map in [0, 1], Y the score of x, O that of x times L.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._score import Target
from xaijax.metrics._confidence import confidence
from xaijax.metrics._metric import metric


class IncreaseInConfidence(NamedTuple):
    """Whether the score rises where only what the map points at is shown.

    Attributes:
      increase: 1 if it does, else 0.
      score: Y, that of the input.
      shown: O, that of what the map shows.
      area: the mean of the map in [0, 1].
    """

    increase: Float[Array, ""]
    score: Float[Array, ""]
    shown: Float[Array, ""]
    area: Float[Array, ""]


@metric("faithfulness", "higher", read="increase", baseline=("baseline",))
def increase_in_confidence(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    *,
    baseline: Any = 0.0,
) -> IncreaseInConfidence:
    r"""Whether the score rises where only what the map points at is shown.

    .. math:: [Y < O], \qquad O = v(x \odot L), \qquad L = \frac{\max(a, 0)}{\max_i a_i}

    of one example; the mean over examples, times 100, is the paper's % increase in confidence.

    Differs from the paper in saying how a map comes into [0, 1]: as for `average_drop`.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper takes probabilities: `probabilities(f)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the class predicted for `x`.
      attribution: what is judged, in the shape of `x`, or without its channels, `(h, w)`; a map at a layer's size has
        to be resized first.
      baseline: what is there where the map shows nothing: a number, or an array that broadcasts to `x`. The paper's is
        0 after the model's normalisation.

    Returns:
      1 if the score rises, else 0, 0-d; NaN if a score is. Higher is better. `increase_in_confidence.details` takes the
      same arguments and gives the scores and the map's area, too.

    Raises:
      ValueError: the attribution does not fit `x`, or is not finite (traced: NaN); `baseline` does not broadcast to
        `x`; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, -1.0])])
      >>> increase_in_confidence(f, jnp.ones(3), 0, jnp.array([1.0, 1.0, 0.0]))  # 3 > 2
      Array(1., dtype=float32)
      >>> increase_in_confidence(f, jnp.ones(3), 0, jnp.array([1.0, 0.0, 0.0]))  # 1 < 2
      Array(0., dtype=float32)

    References:
      chattopadhay2018gradcampp
    """
    left = confidence("increase_in_confidence", f, x, target, [attribution], baseline)
    shown = left.O[0]
    rises = (shown > left.Y).astype(shown.dtype)
    increase = jnp.where(jnp.isnan(left.Y - shown), jnp.nan, rises)
    return IncreaseInConfidence(increase, left.Y, shown, left.area[0])
