"""Explanation selectivity (Montavon, Samek & Mueller, Digital Signal Processing 73, 2018; arXiv:1706.07979v1).

Notation: x the input, a its attribution, v(z) the score with the patches kept where z is true, d the number of patches;
h_k the set of the k patches with the highest attribution.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Key

from xaijax.core._errors import check_positive
from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._features import features, patches
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import RemovalCurve, hide_first, removal_curve


@metric(
    "faithfulness",
    "lower",
    read="auc",
    static=("patch_size", "num_steps", "num_orders", "batch_size"),
    baseline=("baseline",),
)
def selectivity(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    patch_size: int = 4,
    baseline: Any = 0.0,
    mask: Mask | None = None,
    num_steps: int = 49,
    num_orders: int = 1,
    batch_size: int | None = None,
) -> RemovalCurve:
    r"""The area under the score as patches are hidden one after another, those of the highest attribution first.

    .. math:: \int_0^1 v(\overline{h_{td}})\, dt

    by the trapezoidal rule, over the part t of the patches that is hidden, until none is left. It is `deletion_auc` of
    patches: a pixel alone is easily made up for by its neighbours, and a hidden one makes a pattern that no image has.

    Differs from the paper in that the area is over parts, not numbers, of patches, so that sizes compare; and in that
    patches of equal attribution are hidden in an order that the key draws. The attribution is that of `x` throughout.
    Differs from Quantus, whose patches lie anywhere, the best first, and whose area leaves the score of `x` out.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the class predicted for `x`.
      attribution: what is judged, in the shape of `x`, or without its channels, `(h, w)`: its mean over a patch counts,
        which orders whole patches as their sum does. A patch is hidden in all channels. With a `mask`, as the mask
        paints it, or one value per feature.
      key: the order of patches with equal attributions.
      patch_size: the side of a patch, in pixels; at the lower and right ends of the image they may be cut off. The
        default is the paper's on digits of 28 x 28. Static.
      baseline: what a hidden patch shows: a number, or an array that broadcasts to `x`. The paper's is black, which is
        0 of the paper's digits: give yours if it is another.
      mask: what is hidden and how, instead of patches and baseline: `segments`, `columns`, `tokens`.
      num_steps: how many parts of equal size the patches are hidden in, at most one for each patch. The default is the
        paper's number of patches. One evaluation for each, and one for `x`. Static.
      num_orders: over how many orders of equal patches the score is averaged; each costs all evaluations. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The area, 0-d, in units of the score. Lower is better. `selectivity.details` takes the same arguments and gives
      the `RemovalCurve`.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not
        broadcast to `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, 4.0, 8.0])])
      >>> x, key = jnp.ones(4), jax.random.key(0)
      >>> selectivity(f, x, 0, jnp.array([1.0, 2.0, 4.0, 8.0]), key, patch_size=2)  # (15/2 + 3 + 0/2) / 2
      Array(5.25, dtype=float32)

    References:
      montavon2018methods
    """
    check_positive("selectivity", patch_size=patch_size)
    if mask is None:
        mask = patches("selectivity", f, x, attribution, baseline, size=patch_size)
    v, values = features("selectivity", f, x, target, attribution, mask)
    sizes = {"num_steps": num_steps, "num_orders": num_orders, "batch_size": batch_size}
    return removal_curve(v, values, key, kept=hide_first, **sizes)
