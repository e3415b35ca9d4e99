"""Attributions of images as maps of their pixels, which metrics of different explainers can share."""

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.core._layers import image_axes
from xaijax.core._maps import resize

#: What becomes of the channels of an attribution of an image.
Channels = Literal["sum", "magnitude"]


def is_image(x: Any) -> bool:
    """Whether an input is taken for an image: an array with three axes."""
    return getattr(x, "ndim", 0) == 3


def pixel_map(
    f: Callable[[Any], Any],
    x: Any,
    attribution: Float[Array, "*shape"],
    *,
    channels: Channels = "sum",
) -> Float[Array, "*shape"]:
    """An attribution of an image as a map of its pixels; of anything else as it is.

    Args:
      f: the model, whose first convolution tells which axes of `x` are the image's.
      x: the input.
      attribution: in the shape of `x`, or a map `(h, w)` of any size, which is interpolated linearly.
      channels: whether the channels of an attribution are summed up as they are, signed, or by their magnitudes.

    Returns:
      The map, `(height, width)` of the image, or the attribution.

    Raises:
      ValueError: the attribution is neither, or `channels` is no such word.

    Examples:
      >>> x = jnp.zeros((2, 2, 3))
      >>> pixel_map(lambda x: x.sum((0, 1)), x, x.at[0, 1].set(-1.0))
      Array([[ 0., -3.],
             [ 0.,  0.]], dtype=float32)
    """
    if channels not in ("sum", "magnitude"):
        raise ValueError(
            complaint("pixel_map", "channels", "be 'sum' or 'magnitude'", repr(channels))
        )
    if not is_image(x):
        return attribution
    height, width, channel = image_axes("pixel_map", f, x)
    if attribution.shape == x.shape:
        a = jnp.moveaxis(attribution, (height, width, channel), (0, 1, 2))
        return (jnp.abs(a) if channels == "magnitude" else a).sum(-1)
    if attribution.ndim == 2:
        size = (x.shape[height], x.shape[width])
        return attribution if attribution.shape == size else resize(attribution, size)
    rule = f"have the shape of x, {x.shape}, or be a map (h, w)"
    raise ValueError(complaint("pixel_map", "attribution", rule, f"shape {attribution.shape}"))
