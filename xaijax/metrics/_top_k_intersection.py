"""Top-k intersection (Theiner, Müller-Budack & Ewerth, WACV 2022; arXiv:2104.14995v2).

Notation: a the attribution, s the mask of the object, k a number of positions.
"""

from jaxtyping import Array, Bool, Float

from xaijax.core._errors import check_positive, complaint
from xaijax.metrics._located import Located, located, top_hits
from xaijax.metrics._metric import metric


@metric("localisation", "higher", read="part", static=("k",))
def top_k_intersection(
    attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"], *, k: int = 1000
) -> Located:
    r"""The part of the k highest attributions that lies on the object.

    .. math:: \frac{\left| \{ i : a_i \text{ among the } k \text{ highest} \} \cap s \right|}{k}

    The `lift` of its details, this over the part of the image that the object covers, tells how much more the object
    counts than its size.

    Differs from the paper where equal values reach across the last rank: the result is what a draw among them is
    expected to give. The default is that of a widely used implementation, for images of 224 x 224: 2 % of the pixels.

    Args:
      attribution: what is judged, `(h, w)` or of any other shape.
      truth: the mask of the object, of the same shape.
      k: how many positions, at most all. Static.

    Returns:
      The part, 0-d: between 0 and 1, which it is for a mask of everything; at most |s| / k for a smaller object; NaN if
      the mask is empty. Only the order of the values counts. Higher is better. `top_k_intersection.details` gives the
      part with the `area` of the object and the `lift` over it.

    Raises:
      ValueError: k < 1 or above the number of positions; the mask has another shape or other values than true and
        false; or the attribution is not finite (traced: NaN).
      TypeError: the attribution is not one float array, or k no integer.

    Examples:
      >>> import jax.numpy as jnp
      >>> truth = jnp.array([True, True, False, False])
      >>> top_k_intersection(jnp.array([4.0, 1.0, 3.0, 2.0]), truth, k=4)
      Array(0.5, dtype=float32)
      >>> top_k_intersection(jnp.array([4.0, 1.0, 3.0, 2.0]), truth, k=1)
      Array(1., dtype=float32)

    References:
      theiner2022interpretable
    """
    check_positive("top_k_intersection", k=k)
    if k > attribution.size:
        rule = f"be at most the number of positions, {attribution.size}"
        raise ValueError(complaint("top_k_intersection", "k", rule, k))
    truth = truth.astype(bool)
    return located(top_hits(attribution, truth, k) / k, truth)
