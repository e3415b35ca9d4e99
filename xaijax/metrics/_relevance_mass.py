"""Relevance mass accuracy (Arras, Osman & Samek, Information Fusion 2022; arXiv:2003.07258v3, CLEVR-XAI).

Notation: a the attribution, s the mask of the objects.
"""

from jaxtyping import Array, Bool, Float

from xaijax.metrics._located import Located, positive_mass
from xaijax.metrics._metric import metric


@metric("localisation", "higher", read="part")
def relevance_mass(attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"]) -> Located:
    r"""The share of the relevance that lies on the objects.

    .. math:: \frac{\sum_{i:\, s_i = 1} a_i}{\sum_i a_i}, \quad a_i \ge 0

    On a map of one value per pixel it is the same number as `energy_pointing_game`.

    The paper makes relevance of several channels one positive value per pixel first, in ways that it compares: such as
    `jnp.maximum(a.sum(-1), 0)`, `jnp.abs(a).max(-1)` or the sum of squares, `(a**2).sum(-1)`. Which one decides much:
    say which. Differs from the paper in taking what is negative for zero where that was not done.

    Args:
      attribution: what is judged, `(h, w)` or of any other shape.
      truth: the mask of the objects, of the same shape.

    Returns:
      The share, 0-d, between 0 and 1, which it is for a mask of everything; NaN if the mask is empty or nothing is
      positive. The same for any multiple of the attribution. Higher is better. `relevance_mass.details` gives the share
      with the `area` of the objects and the `lift` over it.

    Raises:
      ValueError: the mask has another shape or other values than true and false, or the attribution is not finite
        (traced: NaN).
      TypeError: the attribution is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> relevance_mass(jnp.array([1.0, 2.0, 1.0]), jnp.array([True, True, False]))
      Array(0.75, dtype=float32)

    References:
      arras2022clevr
    """
    return positive_mass(attribution, truth)
