"""Energy-based pointing game (Wang et al., CVPR 2020 workshop, Score-CAM; arXiv:1910.01279v2).

Notation: a the attribution, s the mask of the object.
"""

from jaxtyping import Array, Bool, Float

from xaijax.metrics._located import Located, positive_mass
from xaijax.metrics._metric import metric


@metric("localisation", "higher", read="part")
def energy_pointing_game(
    attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"]
) -> Located:
    r"""The share of the positive attribution that lies on the object.

    .. math:: \frac{\sum_{i:\, s_i = 1} \max(a_i, 0)}{\sum_i \max(a_i, 0)}

    A map that says the same everywhere reaches the part of the image that the object covers: compare with it, or read
    the `lift`.

    Differs from the reference code in where the box of the object lies: that one exchanges its axes, which shows where
    image and box are not square. Negative values, which Score-CAM has none of, are left out: with them the share
    could be anything.

    Args:
      attribution: what is judged, `(h, w)` or of any other shape.
      truth: the mask of the object, of the same shape; of boxes: `box_mask`.

    Returns:
      The share, 0-d: 1 if all of it lies on the object, as it must for a mask of everything; NaN if the mask is empty
      or nothing is positive. The same for any multiple of the attribution. Higher is better.
      `energy_pointing_game.details` gives the share with the `area` of the object and the `lift` over it.

    Raises:
      ValueError: the mask has another shape or other values than true and false, or the attribution is not finite
        (traced: NaN).
      TypeError: the attribution is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> truth = jnp.array([[True, False, False, False]])
      >>> energy_pointing_game(jnp.array([[3.0, 1.0, -2.0, 0.0]]), truth)
      Array(0.75, dtype=float32)
      >>> energy_pointing_game.details(jnp.array([[3.0, 1.0, -2.0, 0.0]]), truth).lift
      Array(3., dtype=float32)

    References:
      wang2020scorecam
    """
    return positive_mass(attribution, truth)
