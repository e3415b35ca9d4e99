"""Relevance rank accuracy (Arras, Osman & Samek, Information Fusion 2022; arXiv:2003.07258v3, CLEVR-XAI).

Notation: a the attribution, s the mask of the objects, |s| the number of its positions.
"""

from jaxtyping import Array, Bool, Float

from xaijax.metrics._located import Located, located, top_hits
from xaijax.metrics._metric import metric


@metric("localisation", "higher", read="part")
def relevance_rank(attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"]) -> Located:
    r"""The part of the highest ranks that lies on the objects: of as many as the objects have positions.

    .. math:: \frac{\left| \{ i : a_i \text{ among the } |s| \text{ highest} \} \cap s \right|}{|s|}

    Differs from the paper where equal values reach across the last rank: the result is what a draw among them is
    expected to give. A flat map gets the part of the image that the objects cover.

    Args:
      attribution: what is judged, `(h, w)` or of any other shape.
      truth: the mask of the objects, of the same shape.

    Returns:
      The part, 0-d, between 0 and 1, which it is for a mask of everything; NaN if the mask is empty. Only the order of
      the values counts. Higher is better. `relevance_rank.details` gives the part with the `area` of the objects and
      the `lift` over it.

    Raises:
      ValueError: the mask has another shape or other values than true and false, or the attribution is not finite
        (traced: NaN).
      TypeError: the attribution is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> truth = jnp.array([True, True, False, False])
      >>> relevance_rank(jnp.array([4.0, 1.0, 3.0, 0.0]), truth)
      Array(0.5, dtype=float32)
      >>> relevance_rank(jnp.array([4.0, 0.0, 0.0, -1.0]), truth)  # one of two equals
      Array(0.75, dtype=float32)

    References:
      arras2022clevr
    """
    truth = truth.astype(bool)
    size = truth.sum()
    return located(top_hits(attribution, truth, size) / size, truth)
