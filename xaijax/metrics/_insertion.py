"""Insertion (Petsiuk, Das & Saenko, BMVC 2018; arXiv:1806.07421v3, section 4.2).

Notation: x the input, a its attribution, v(z) the score with the features kept where z is true, d the number of
features; h_k the set of the k features with the highest attribution.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._features import blurred, features
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import RemovalCurve, removal_curve, show_first


@metric(
    "faithfulness",
    "higher",
    read="auc",
    static=("num_steps", "num_orders", "batch_size"),
    baseline=("baseline",),
)
def insertion_auc(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    baseline: Any = None,
    mask: Mask | None = None,
    num_steps: int = 224,
    num_orders: int = 1,
    batch_size: int | None = None,
) -> RemovalCurve:
    r"""The area under the score as the features are shown on a blurred image, the highest attribution first.

    .. math:: \int_0^1 v(h_{td})\, dt

    by the trapezoidal rule, over the part t of the features that is shown. Good explanations make the score rise at
    once.

    Differs from the reference code in that features of equal attribution are shown in an order that the key draws, and
    in that its blur is cut off after 5 pixels, ours after 20.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper takes probabilities: `probabilities(f)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the class predicted for `x`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is shown
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the order of features with equal attributions.
      baseline: what is not yet shown: a number, or an array that broadcasts to `x`. By default the image, blurred by a
        Gaussian of 5 pixels, as in the reference code.
      mask: what the features are and how they are hidden, instead of positions and baseline: `segments`, `columns`,
        `tokens`. A painted attribution is averaged over each feature.
      num_steps: how many parts of equal size the features are shown in, at most one for each feature. The default is
        the paper's on images of 224 x 224. One evaluation for each, and one for the baseline. Static.
      num_orders: over how many orders of equal features the score is averaged; each costs all evaluations. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The area, 0-d, in units of the score; between 0 and 1 for probabilities. Higher is better.
      `insertion_auc.details` takes the same arguments and gives the `RemovalCurve`.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not
        broadcast to `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array; `x` is no image and there is neither
        baseline nor mask; or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0, 4.0, 8.0])])
      >>> x, key = jnp.ones(4), jax.random.key(0)
      >>> insertion_auc(f, x, 0, jnp.array([1.0, 2.0, 4.0, 8.0]), key, baseline=0.0)  # (8 + 12 + 14 + 15/2) / 4
      Array(10.375, dtype=float32)

    References:
      petsiuk2018rise
    """
    if baseline is None and mask is None:
        baseline = blurred("insertion_auc", f, x, sigma=5.0)
    v, values = features("insertion_auc", f, x, target, attribution, mask, baseline)
    sizes = {"num_steps": num_steps, "num_orders": num_orders, "batch_size": batch_size}
    return removal_curve(v, values, key, kept=show_first, **sizes)
