"""Intersection over union of a map, cut at a part of its maximum (Selvaraju et al., ICCV 2017; arXiv:1610.02391v4).

Notation: a the attribution, s the mask of the object, t the threshold.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xaijax.metrics._metric import metric


@metric("localisation", "higher", fraction=("threshold",))
def iou(
    attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"], *, threshold: float = 0.15
) -> Float[Array, ""]:
    r"""How well the map, cut at a part of its maximum, covers the object: intersection over union.

    .. math:: \frac{|\hat{s} \cap s|}{|\hat{s} \cup s|}, \quad \hat{s} = \{ i : a_i \ge t \max_j a_j \}

    A flat map covers everything: it reaches the part of the image that is the object. The number depends on the
    threshold at least as much as on the map; `auc` needs none.

    Differs from the paper in comparing the cut map itself with a mask: it compares the box around its largest connected
    part with the box of the object.

    Args:
      attribution: what is judged, `(h, w)` or of any other shape.
      truth: the mask of the object, of the same shape.
      threshold: t, where the map is cut, as a part of its maximum; the paper's for Grad-CAM.

    Returns:
      The ratio, 0-d, between 0 and 1; for a mask of everything the part of the positions that is left of the map; NaN
      if the mask is empty or nothing is positive. The same for any multiple of the attribution. Higher is better.

    Raises:
      ValueError: `threshold` is not between 0 and 1; the mask has another shape or other values than true and false;
        or the attribution is not finite (traced: NaN).
      TypeError: the attribution is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> truth = jnp.array([True, True, False, False])
      >>> iou(jnp.array([1.0, 0.125, 0.25, 0.0]), truth)  # left: the first and the third
      Array(0.33333334, dtype=float32)
      >>> iou(jnp.array([1.0, 0.125, 0.25, 0.0]), truth, threshold=0.5)
      Array(0.5, dtype=float32)

    References:
      selvaraju2017gradcam
    """
    a = attribution.astype(jnp.promote_types(attribution.dtype, jnp.float32))
    truth, highest = truth.astype(bool), a.max()
    left = a >= threshold * highest
    ratio = (left & truth).sum() / (left | truth).sum()
    return jnp.where(truth.any() & (highest > 0), ratio, jnp.nan)
