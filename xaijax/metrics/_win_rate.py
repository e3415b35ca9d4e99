"""Win % (Chattopadhay et al., WACV 2018; arXiv:1710.11063).

Notation: x the input, Y its score, O and O' the scores of x times the one and the other map.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._score import Target
from xaijax.metrics._confidence import confidence
from xaijax.metrics._metric import metric


class WinRate(NamedTuple):
    """Which of two maps loses less of the score.

    Attributes:
      win: 1 if it is the attribution, 0 if it is the other one, one half if both lose as much.
      score: Y, that of the input.
      shown: the scores of what each of the two shows.
      area: the means of both in [0, 1].
    """

    win: Float[Array, ""]
    score: Float[Array, ""]
    shown: Float[Array, "2"]
    area: Float[Array, "2"]


@metric("faithfulness", "higher", read="win", baseline=("baseline",))
def win_rate(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    other: Float[Array, "*shape"],
    *,
    baseline: Any = 0.0,
) -> WinRate:
    r"""Whether the attribution loses less of the score than another one, where only what a map points at is shown.

    .. math:: [\max(0, Y - O) < \max(0, Y - O')] + \tfrac12\, [\max(0, Y - O) = \max(0, Y - O')]

    of one example; the mean over examples, times 100, is the paper's win %.

    Differs from the paper in counting a tie, as where both maps raise the score, as half a win for both, so that what
    two maps win sums to 1; and in saying how a map comes into [0, 1]: as for `average_drop`.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper takes probabilities: `probabilities(f)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the class predicted for `x`.
      attribution: what is judged, in the shape of `x`, or without its channels, `(h, w)`; a map at a layer's size has
        to be resized first.
      other: what it is compared with, likewise.
      baseline: what is there where a map shows nothing: a number, or an array that broadcasts to `x`. The paper's is 0
        after the model's normalisation.

    Returns:
      1 for a win, 0 for a loss, one half for a tie, 0-d; NaN if a score is. Higher is better. `win_rate.details` takes
      the same arguments and gives the scores and both maps' areas, too.

    Raises:
      ValueError: an attribution does not fit `x`, or is not finite (traced: NaN); `baseline` does not broadcast to `x`;
        `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: an attribution or `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0])])
      >>> win_rate(f, jnp.ones(2), 0, jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))  # loses 1, the other 2
      Array(1., dtype=float32)

    References:
      chattopadhay2018gradcampp
    """
    left = confidence("win_rate", f, x, target, [attribution, other], baseline)
    lost = jnp.maximum(left.Y - left.O, 0)
    # 1, 0 and -1 as the attribution loses less, as much and more; NaN if one of them is.
    win = (1 + jnp.sign(lost[1] - lost[0])) / 2
    return WinRate(win, left.Y, left.O, left.area)
