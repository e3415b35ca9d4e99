"""What is done to a map after it was computed: to the size of the image, to [0, 1]."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xaijax.core._errors import check_positive, complaint


def resize(
    a: Float[Array | np.ndarray, "h w *c"],
    shape: tuple[int, int],
    *,
    method: Literal["nearest", "linear", "cubic"] = "linear",
    align_corners: bool = False,
) -> Float[Array, "H W *c"]:
    """Resize a map (or an image) over its first two axes, without antialiasing.

    Args:
      a: the map.
      shape: the new height and width in pixels.
      method: the interpolation.
      align_corners: whether the corners of both grids coincide, as some reference implementations of CAMs have it,
        or their edges do (PyTorch's and OpenCV's default, and ours).

    Returns:
      The map of size `shape`.

    Examples:
      >>> resize(jnp.array([[0.0, 1.0]]), (1, 4))
      Array([[0.  , 0.25, 0.75, 1.  ]], dtype=float32)
      >>> resize(jnp.array([[0.0, 1.0]]), (1, 3), align_corners=True)
      Array([[0. , 0.5, 1. ]], dtype=float32)
    """
    a = jnp.asarray(a)
    if len(shape) != 2 or a.ndim < 2:
        got = f"shape {shape} for a map of shape {a.shape}"
        raise ValueError(complaint("resize", "shape", "be (height, width)", got))
    check_positive("resize", height=shape[0], width=shape[1])
    full = (*shape, *a.shape[2:])
    if not align_corners:
        return jax.image.resize(a, full, method, antialias=False)
    # A single row or column has no two corners: it is repeated.
    a = a if a.shape[0] > 1 else jnp.broadcast_to(a, (shape[0], *a.shape[1:]))
    a = a if a.shape[1] > 1 else jnp.broadcast_to(a, (a.shape[0], shape[1], *a.shape[2:]))
    steps = [
        (m - 1) / (n - 1) if min(m, n) > 1 else 1.0 for n, m in zip(a.shape, shape, strict=False)
    ]
    scale = jnp.array(steps, a.dtype)
    shift = 0.5 - 0.5 * scale
    return jax.image.scale_and_translate(a, full, (0, 1), scale, shift, method, antialias=False)


def blur(a: Float[Array, "h w *c"], sigma: Any) -> Float[Array, "h w *c"]:
    """Blur a map (or an image) over its first two axes by a Gaussian.

    Cut off after four standard deviations; beyond its edges the map is mirrored. Any sigma is one program.

    Args:
      a: the map.
      sigma: the standard deviation in pixels; 0 changes nothing.

    Returns:
      The blurred map, of the same shape and sum up to what the mirror gives back.

    Examples:
      >>> blur(jnp.array([[0.0, 1.0, 0.0]]), 0.0)
      Array([[0., 1., 0.]], dtype=float32)
    """
    rows, columns = (_gaussian(n, sigma, a.dtype) for n in a.shape[:2])
    return jnp.einsum("ih,jw,hw...->ij...", rows, columns, a, precision="highest")


def _gaussian(size: int, sigma: Any, dtype: Any) -> Float[Array, "size size"]:
    """Row i: how much of each pixel blurred pixel i is made of."""
    # Mirrored once at each edge; what lies further away is mirrored again.
    beyond = 2 * size
    place = jnp.arange(-beyond, size + beyond)
    turned = place % (2 * size)
    source = jnp.where(turned < size, turned, 2 * size - 1 - turned)
    distance = (place - jnp.arange(size)[:, None]).astype(dtype)
    sigma = jnp.asarray(sigma, dtype)
    width: Any = jnp.where(sigma > 0, sigma, 1.0)
    scaled = distance / width
    near = jnp.abs(distance) <= jnp.floor(4.0 * sigma + 0.5)
    weight = jnp.where(near, jnp.exp(-0.5 * scaled**2), 0.0)
    weight = weight / weight.sum(1, keepdims=True)
    return jnp.zeros((size, size), dtype).at[:, source].add(weight)


def normalize(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scale one map to [0, 1] by its smallest and largest value; a flat map gives zeros.

    For showing. Metrics take the raw map: this moves the zero of a map without zeros.

    Examples:
      >>> normalize(jnp.array([1.0, 2.0, 5.0]))
      Array([0.  , 0.25, 1.  ], dtype=float32)
      >>> normalize(jnp.ones(3))
      Array([0., 0., 0.], dtype=float32)
    """
    low = a.min()
    spread = a.max() - low
    # Below the smallest normal number XLA rounds to zero.
    flat = spread < jnp.finfo(a.dtype).tiny
    return jnp.where(flat, 0.0, (a - low) / jnp.where(flat, 1.0, spread))
