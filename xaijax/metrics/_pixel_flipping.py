"""Pixel flipping (Bach et al., PLoS ONE 10(7):e0130140, 2015).

Notation: x the input, a its attribution, v(z) the score with the features as they are where z is true and flipped
elsewhere, d the number of features; h_k the set of the k features with the highest attribution.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._features import features, value_range
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import RemovalCurve, hide_first, removal_curve


@metric(
    "faithfulness",
    "lower",
    read="auc",
    static=("num_steps", "num_orders", "batch_size"),
    baseline=("baseline",),
)
def pixel_flipping(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    baseline: Any = None,
    mask: Mask | None = None,
    num_steps: int = 784,
    num_orders: int = 1,
    batch_size: int | None = None,
) -> RemovalCurve:
    r"""The area under the score as pixels are turned into their opposite, the highest attribution first.

    .. math:: \int_0^1 v(\overline{h_{td}})\, dt, \qquad x_i \mapsto \min x + \max x - x_i

    by the trapezoidal rule, over the part t of the pixels that is flipped. It is the curve of `deletion_auc` with
    another change: deletion takes evidence away (a pixel becomes 0), flipping puts the opposite there (black becomes
    white), so that background pixels count as much as those of the object, and a pixel at 0 is changed, too.

    Differs from the paper in giving the area, where the paper shows the curve; and in flipping pixels that are neither
    black nor white, by mirroring them at the middle of their channel's range in `x`. Differs from Quantus, which writes
    the lowest value of `x`, leaves the score of `x` out, and takes steps of width 1: its area grows with their number.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the class predicted for `x`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is flipped
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the order of features with equal attributions.
      baseline: what a flipped pixel shows: a number, or an array that broadcasts to `x`. By default its opposite in the
        range of its channel, of an input that is no image in the range of all its values.
      mask: what the features are and how they are changed, instead of positions and baseline: `segments`, `columns`,
        `tokens`. A painted attribution is averaged over each feature.
      num_steps: how many parts of equal size the features are flipped in, at most one for each feature. The default is
        the paper's, one pixel at a time on digits of 28 x 28. One evaluation for each, and one for `x`. Static.
      num_orders: over how many orders of equal features the score is averaged; each costs all evaluations. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The area, 0-d, in units of the score. Lower is better. `pixel_flipping.details` takes the same arguments and gives
      the `RemovalCurve`.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not
        broadcast to `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([4.0, 2.0, -1.0])])
      >>> x, key = jnp.array([1.0, 0.0, 0.0]), jax.random.key(0)
      >>> pixel_flipping.details(f, x, 0, jnp.array([3.0, 2.0, 1.0]), key).scores  # of 100, 000, 010 and 011
      Array([4., 0., 2., 1.], dtype=float32)
      >>> pixel_flipping(f, x, 0, jnp.array([3.0, 2.0, 1.0]), key)  # (4/2 + 0 + 2 + 1/2) / 3
      Array(1.5, dtype=float32)

    References:
      bach2015pixelwise
    """
    if baseline is None and mask is None:
        low, high = value_range("pixel_flipping", f, x)
        baseline = low + high - x
    v, values = features("pixel_flipping", f, x, target, attribution, mask, baseline)
    sizes = {"num_steps": num_steps, "num_orders": num_orders, "batch_size": batch_size}
    return removal_curve(v, values, key, kept=hide_first, **sizes)
