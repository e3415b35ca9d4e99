"""The area under the ROC curve (Fawcett, Pattern Recognition Letters 2006), of an attribution against a mask.

Notation: a the attribution, s the mask of the object.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from xaijax.core._sorting import num_below_and_up_to, order_keys
from xaijax.metrics._metric import metric


@metric("localisation", "higher")
def auc(attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"]) -> Float[Array, ""]:
    r"""How well the attribution tells the object from the rest: the area under the ROC curve.

    .. math:: P(a_i > a_j) + \tfrac12 P(a_i = a_j), \quad s_i = 1,\ s_j = 0

    over pairs of a position on the object and one beside it.

    Differs from the paper in nothing; it counts ties half, as the diagonal parts of the curve do.

    Args:
      attribution: what is judged, `(h, w)` or of any other shape.
      truth: the mask of the object, of the same shape.

    Returns:
      The area, 0-d: 1 if every position on the object is above all others, 0.5 for a flat map, 0 if every one is
      below; NaN if the mask is empty or full. Only the order of the values counts. Higher is better.

    Raises:
      ValueError: the mask has another shape or other values than true and false, or the attribution is not finite
        (traced: NaN).
      TypeError: the attribution is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> truth = jnp.array([True, True, False, False])
      >>> auc(jnp.array([4.0, 1.0, 1.0, 0.0]), truth)  # of four pairs three and a half
      Array(0.875, dtype=float32)

    References:
      fawcett2006introduction
    """
    a, s = attribution.reshape(-1), truth.astype(bool).reshape(-1)
    wide = jnp.promote_types(a.dtype, jnp.float32)
    # As floats: XLA's CPU backend takes longer to sum integers.
    num_on, num_beside = (jnp.where(s == on, jnp.ones((), wide), 0).sum() for on in (True, False))
    # The fewer of the two kinds are moved together, in half as many places, and sorted; the others look for theirs.
    few = s == (num_on < num_beside)
    num_few, num_many = jnp.minimum(num_on, num_beside), jnp.maximum(num_on, num_beside)
    keys, places = order_keys(a), max(a.size // 2, 1)
    ends = jnp.iinfo(keys.dtype)
    place = jnp.where(few, jnp.cumsum(few) - 1, places)
    ordered = lax.sort(jnp.full(places, ends.max, keys.dtype).at[place].set(keys, mode="drop"))
    # The fewer would each find themselves, and a search for equals is longer the more are found.
    below, up_to = num_below_and_up_to(ordered, jnp.where(few, ends.min, keys))
    # A part of each row first: the number of pairs is too large for single precision.
    won = (below + up_to).astype(wide) / (2 * num_few)
    area = jnp.where(few, 0, won).sum() / num_many
    return jnp.where(num_on < num_beside, 1 - area, area)
