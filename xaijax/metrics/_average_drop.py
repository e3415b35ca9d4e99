"""Average drop (Chattopadhay et al., WACV 2018; arXiv:1710.11063).

Notation: x the input, L the map in [0, 1], Y the score of x, O that of x times L.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from xaijax.core._score import Target
from xaijax.metrics._confidence import confidence
from xaijax.metrics._metric import metric


class AverageDrop(NamedTuple):
    """What is lost of the score where only what the map points at is shown.

    Attributes:
      drop: the part of the score that is lost.
      score: Y, that of the input.
      shown: O, that of what the map shows.
      area: the mean of the map in [0, 1].
    """

    drop: Float[Array, ""]
    score: Float[Array, ""]
    shown: Float[Array, ""]
    area: Float[Array, ""]


@metric("faithfulness", "lower", read="drop", baseline=("baseline",))
def average_drop(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    *,
    baseline: Any = 0.0,
) -> AverageDrop:
    r"""Which part of the score is lost where only what the map points at is shown.

    .. math:: \frac{\max(0, Y - O)}{Y}, \qquad O = v(x \odot L), \qquad L = \frac{\max(a, 0)}{\max_i a_i}

    of one example; the mean over examples, times 100, is the paper's average drop %. A map that shows everything loses
    nothing: look at the `area` of `details`, too.

    Differs from the paper in saying how a map comes into [0, 1]: what is negative is 0, the highest is 1, and 0 stays
    0, where scaling the lowest value to 0 would hide what the lowest value of a map without zeros shows. Differs from
    pytorch-grad-cam, whose drop is not divided by the score.

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
      The drop, 0-d, from 0 to 1 for probabilities; NaN if the score of `x` is not positive. Lower is better. A map
      without a positive value shows the baseline alone. `average_drop.details` takes the same arguments and gives the
      scores and the map's area, too.

    Raises:
      ValueError: the attribution does not fit `x`, or is not finite (traced: NaN); `baseline` does not broadcast to
        `x`; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x.sum()])
      >>> average_drop(f, jnp.ones(4), 0, jnp.array([2.0, 1.0, 0.0, -5.0]))  # (4 - 1.5) / 4
      Array(0.625, dtype=float32)
      >>> average_drop(f, jnp.ones(4), 0, jnp.ones(4))
      Array(0., dtype=float32)

    References:
      chattopadhay2018gradcampp
    """
    left = confidence("average_drop", f, x, target, [attribution], baseline)
    return AverageDrop(left.drop[0], left.Y, left.O[0], left.area[0])
