"""Iterative removal of features, IROF (Rieger & Hansen, 2020; arXiv:2003.08747v1).

Notation: x the input, a its attribution, v(z) the score with the segments kept where z is true, d the number of
segments; h_k the set of the k segments with the highest mean attribution.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._features import features, patch_means, patches
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import hide_first, removal_curve

# Along each side of an image: the cells of `superpixels(image, "grid")`.
_CELLS = 7


class Irof(NamedTuple):
    """The score as segments are removed, one after another.

    Attributes:
      aoc: the area over the curve of the scores, divided by the first of them.
      changed: which part of the segments is removed, from 0 to 1.
      scores: the score then, the mean over the orders of equal segments.
      flat: whether nothing that was removed changed the score.
    """

    aoc: Float[Array, ""]
    changed: Float[Array, " d+1"]
    scores: Float[Array, " d+1"]
    flat: Bool[Array, ""]


@metric("faithfulness", "higher", read="aoc", static=("num_orders", "batch_size"))
def irof(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_orders: int = 1,
    batch_size: int | None = None,
) -> Irof:
    r"""The area over the score as superpixels take their mean colour, those of the highest mean attribution first.

    .. math:: 1 - \int_0^1 \frac{v(\overline{h_{td}})}{v(\mathbf 1)}\, dt

    by the trapezoidal rule, over the part t of the segments that is removed. Pixels of a superpixel say much the same,
    so that removing one of them says little; the mean colour takes away less that a model could stumble over than black
    does.

    Differs from the paper in its default segments: squares, since the colours behind a model's input are not known
    here. The paper's are `mask=segments(superpixels(pixels, "slic"))`. And where segments have equal attributions: the
    key draws their order. Differs from Quantus, where each segment is removed alone and the others are put back, the
    last one is never removed, and the area grows with the number of segments.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper takes probabilities: `probabilities(f)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the class of `x`.
      attribution: what is judged, as the mask paints it, or one value per segment; without a mask in the shape of `x`
        or that without its channels, `(h, w)`.
      key: the order of segments with equal attributions.
      mask: what the segments are and how they are removed: `segments`, whose default is their mean colour, or another.
        By default 7 x 7 squares, as many as the image has room for, and their mean colour.
      num_orders: over how many orders of equal segments the score is averaged; each costs all evaluations. Static.
      batch_size: evaluations at once, of one for each segment and one for `x`; bounds the memory and changes the result
        by rounding at most. Static.

    Returns:
      The area, 0-d, as a part of the score of `x`: at most 1 for probabilities; below 0 if removing raises the score;
      NaN if the score of `x` is 0. Higher is better. `irof.details` takes the same arguments and gives the curve, too.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); a size < 1; `f` gives
        no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> f = lambda x: jnp.stack([x[:, :, 0].ravel() @ jnp.array([4.0, -4.0, 4.0, -4.0])])
      >>> x = jnp.array([[[2.0], [0.0], [2.0], [0.0]]])
      >>> mask = xaijax.segments(jnp.array([[0, 0, 1, 1]]))  # one with its mean does not count: 16, 8, 0
      >>> irof(f, x, 0, jnp.array([1.0, 2.0]), jax.random.key(0), mask=mask)  # 1 - (16/2 + 8 + 0/2) / 2 / 16
      Array(0.5, dtype=float32)

    References:
      rieger2020irof
    """
    if mask is None:
        grid = patches("irof", f, x, attribution, along=_CELLS)
        mask = dataclasses.replace(grid, baseline=patch_means("irof", f, x, grid))
    v, values = features("irof", f, x, target, attribution, mask)
    sizes = {"num_steps": None, "num_orders": num_orders, "batch_size": batch_size}
    changed, scores, auc, flat = removal_curve(v, values, key, kept=hide_first, **sizes)
    first = scores[0]
    aoc = jnp.where(first == 0, jnp.nan, 1 - auc / jnp.where(first == 0, 1, first))
    return Irof(aoc, changed, scores, flat)
