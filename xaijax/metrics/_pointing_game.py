"""Pointing game (Zhang et al., ECCV 2016; arXiv:1608.00507v1, section 4.2).

Notation: a the attribution, s the mask of the object.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xaijax.core._errors import complaint
from xaijax.metrics._metric import metric


@metric("localisation", "higher", static=("tolerance",))
def pointing_game(
    attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"], *, tolerance: int = 0
) -> Float[Array, ""]:
    r"""Whether the highest attribution lies on the object, or near it.

    .. math:: \left[\min_{j:\, s_j = 1} \lVert \arg\max_i a_i - j \rVert_2 \le \tau \right]

    Differs from the paper where several positions share the highest attribution: the result is the part of them that
    hits, what one of them drawn at random is expected to give: a flat map is no hit, but the part of the image that
    hits. And in its default tolerance: the paper's 15 pixels belong to photos of some 500, and cover a small image.

    Args:
      attribution: what is judged, `(h, w)` or of any other shape.
      truth: the mask of the object, of the same shape.
      tolerance: how far from the object still hits, in pixels; not 0 for a map `(h, w)` alone. Static.

    Returns:
      1 for a hit, 0 for a miss, 0-d; between them for ties; NaN if the mask is empty. Higher is better. The mean
      over examples is the paper's accuracy.

    Raises:
      ValueError: the mask has another shape or other values than true and false; `tolerance` < 0; or the attribution
        is not finite (traced: NaN).
      TypeError: the attribution is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> truth = jnp.array([[True, False, False]])
      >>> pointing_game(jnp.array([[1.0, 0.0, 3.0]]), truth)
      Array(0., dtype=float32)
      >>> pointing_game(jnp.array([[1.0, 0.0, 3.0]]), truth, tolerance=2)
      Array(1., dtype=float32)
      >>> pointing_game(jnp.array([[3.0, 0.0, 3.0]]), truth)
      Array(0.5, dtype=float32)

    References:
      zhang2016top
    """
    highest = attribution == attribution.max()
    hits = near(truth.astype(bool), tolerance)
    return jnp.where(truth.any(), (highest & hits).sum() / highest.sum(), jnp.nan)


def near(truth: Bool[Array, "*shape"], tolerance: int) -> Bool[Array, "*shape"]:
    """The positions at most `tolerance` pixels from the object.

    Raises:
      ValueError: `tolerance` is negative, or not 0 for a mask that is no `(h, w)`.
      TypeError: it is no integer.
    """
    rule = "be an integer of at least 0" if truth.ndim == 2 else "be 0 for a map that is no (h, w)"
    if type(tolerance) is not int:
        raise TypeError(complaint("pointing_game", "tolerance", rule, repr(tolerance)))
    if tolerance < 0 or (tolerance and truth.ndim != 2):
        raise ValueError(complaint("pointing_game", "tolerance", rule, tolerance))
    if not tolerance:
        return truth
    # A disc is made of rows; how much of the object a row holds, sums along it tell.
    h, w = truth.shape
    sums = jnp.pad(jnp.cumsum(truth, 1), ((tolerance, tolerance), (1, 0)))
    reached, place = jnp.zeros(truth.shape, bool), jnp.arange(w)
    for row in range(-tolerance, tolerance + 1):
        half = math.isqrt(tolerance**2 - row**2)
        low, high = jnp.maximum(place - half, 0), jnp.minimum(place + half + 1, w)
        rows = sums[tolerance + row : tolerance + row + h]
        reached |= rows[:, high] > rows[:, low]
    return reached
