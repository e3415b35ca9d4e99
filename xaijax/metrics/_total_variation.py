"""Total variation (Rudin, Osher & Fatemi, Physica D 60, 1992) of a map, as an index of its noise.

That it judges a map is ours. Notation: a the map, a_yx its value at a pixel.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.metrics._metric import metric


@metric("complexity", "lower")
def total_variation(attribution: Float[Array, "h w *c"]) -> Float[Array, ""]:
    r"""How noisy a map is: how much neighbouring pixels differ, against the map's size.

    .. math:: \frac{\sum_{yx} |a_{y+1,x} - a_{yx}| + |a_{y,x+1} - a_{yx}|}{\lVert a \rVert_1}

    Differs from the paper in that differences along rows and columns are added up (the anisotropic variation), not
    taken as the length of a gradient, and in that it is divided by the size of the map.

    Args:
      attribution: what is judged, an image map `(h, w)`; or `(h, w, c)`, and then all channels count.

    Returns:
      The variation, 0-d: 0 for a flat map, at most 4, near it for a chessboard of 1 and -1; NaN if the map is all
      zero. The same for any multiple of the attribution. Lower is smoother.

    Raises:
      ValueError: the attribution is no image map, not finite (traced: NaN) or empty.
      TypeError: it is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> total_variation(jnp.array([[0.0, 0.0], [0.0, 1.0]]))
      Array(2., dtype=float32)
      >>> total_variation(jnp.ones((2, 2)))
      Array(0., dtype=float32)

    References:
      rudin1992nonlinear
    """
    a = scaled_map("total_variation", attribution)
    return (jnp.abs(jnp.diff(a, axis=0)).sum() + jnp.abs(jnp.diff(a, axis=1)).sum()) / (
        jnp.abs(a).sum()
    )


def scaled_map(where: str, attribution: Float[Array, "h w *c"]) -> Float[Array, "h w *c"]:
    """An image map in single precision at least, its largest magnitude 1; of a map of zeros all are NaN.

    Raises:
      ValueError: it is no image map.
    """
    if attribution.ndim not in (2, 3):
        rule = "be an image map (h, w) or (h, w, c)"
        raise ValueError(complaint(where, "attribution", rule, f"shape {attribution.shape}"))
    a = attribution.astype(jnp.promote_types(attribution.dtype, jnp.float32))
    return a / jnp.abs(a).max()
