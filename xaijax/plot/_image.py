"""What speaks for the target in an image, and what against it: pixels or superpixels over the photo in grey."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_rgb

from xaijax.core._errors import complaint
from xaijax.plot._features import (
    NEGATIVE,
    POSITIVE,
    TEXT,
    as_attribution,
    check_finite,
    draw_value_bar,
    make_axes,
)
from xaijax.plot._panel import DIVERGING, TITLE, Scale, as_image, as_map, clear, draw, paint
from xaijax.plot._sheet import LINE

_PALE = 0.35  # how much of the grey photo is paper


class _Signed(Scale):
    """Red and blue, the more opaque the larger the value: where it is 0 the photo stays as it is."""

    def mix(self, values: np.ndarray, grey: np.ndarray | float) -> np.ndarray:
        signed = np.clip(2 * np.asarray(self.norm(values)) - 1, -1, 1)[..., None]
        opacity = self.alpha * np.abs(signed)
        colour = np.where(signed < 0, to_rgb(NEGATIVE), to_rgb(POSITIVE))
        paper = _PALE + (1 - _PALE) * np.asarray(grey)[..., None]
        return opacity * colour + (1 - opacity) * paper


def image(
    attribution: Float[np.ndarray, "a b"] | Float[np.ndarray, " num_segments"],
    image: Float[np.ndarray, "h w c"],
    segments: Int[np.ndarray, "h w"] | None = None,
    *,
    title: str = "",
    unit: str = "",
    alpha: float = 0.85,
    width: float = 3.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw a signed attribution over its photo in grey: red for the target, blue against it, nothing where it is 0.

    The colours are even around zero. For maps without a sign, such as those of Grad-CAM, see `overlay`.

    Args:
      attribution: a map `(a, b)` of any size, which is resized to the image; or one number for each segment.
      image: pixels `(h, w, 3)` or `(h, w)`, uint8 or floats in [0, 1].
      segments: the superpixel of each pixel `(h, w)`, as `xaijax.superpixels` numbers them; their borders are drawn.
      title: what it is.
      unit: of the attribution, written on the colour bar.
      alpha: the opacity of the largest value.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a range does not fit, the attribution is not finite, or there is no such segment.
      TypeError: the segments are no integers.

    Examples:
      >>> segments = np.array([[0, 0, 1], [0, 2, 2]])
      >>> ax = image(np.array([1.0, -2.0, 0.0]), np.zeros((2, 3, 3)), segments)
      >>> ax.images[0].get_clim()
      (-2.0, 2.0)
    """
    where = "image"
    pixels = as_image(where, image)
    if not 0 < alpha <= 1:
        raise ValueError(complaint(where, "alpha", "be above 0 and at most 1", alpha))
    numbers = None if segments is None else _as_segments(where, segments, pixels.shape[:2])
    if np.ndim(attribution) == 1:
        a = _on_pixels(where, as_attribution(where, attribution, 1), numbers)
    else:
        a = as_map(where, attribution)
        check_finite(where, "attribution", a)

    ratio = pixels.shape[0] / pixels.shape[1]
    over = LINE + 0.04 if title else 0.0
    side = width - 0.9
    ax = make_axes(ax, width, side * ratio, left=0.05, top=over + 0.05, bottom=0.05)
    top = float(np.abs(a).max())
    if top:
        scale = _Signed(Normalize(-top, top), colormaps[DIVERGING], alpha)
        draw_value_bar(ax, scale, f"attribution ({unit})" if unit else "attribution")
        paint(ax, pixels.mean(-1), a, scale)
        clear(ax)
    else:
        draw(ax, pixels, a, None)  # says that it is flat
    if numbers is not None:
        ax.add_collection(_borders(numbers))
    ax.set_title(title, fontsize=TITLE, loc="left", color=TEXT, pad=3, parse_math=False)
    return ax


def _as_segments(where: str, segments: Any, shape: tuple[int, ...]) -> Int[np.ndarray, "h w"]:
    numbers = np.asarray(segments)
    if numbers.shape != shape:
        rule = f"have a number for each pixel, {shape}"
        raise ValueError(complaint(where, "segments", rule, f"shape {numbers.shape}"))
    if numbers.dtype.kind not in "iu":
        fix = "See xaijax.superpixels."
        raise TypeError(complaint(where, "segments", "be integers", numbers.dtype, fix))
    return numbers.astype(np.int64)


def _on_pixels(
    where: str, values: Float[np.ndarray, " num_segments"], segments: np.ndarray | None
) -> Float[np.ndarray, "h w"]:
    """The values of segments on their pixels."""
    if segments is None:
        rule, fix = "be a map (h, w) unless segments are given", "Pass segments=."
        raise ValueError(complaint(where, "attribution", rule, f"shape {values.shape}", fix))
    low, high = segments.min(), segments.max()
    if low < 0 or high >= len(values):
        rule = f"be in [0, {len(values)}), as there are {len(values)} attributions"
        raise ValueError(complaint(where, "segments", rule, f"{low} to {high}"))
    return values[segments]


def _borders(segments: Int[np.ndarray, "h w"]) -> LineCollection:
    """The edges between pixels of different segments."""
    down, across = np.nonzero(segments[:, 1:] != segments[:, :-1])
    upright = np.stack([across + 0.5, down - 0.5, across + 0.5, down + 0.5], axis=-1)
    down, across = np.nonzero(segments[1:] != segments[:-1])
    level = np.stack([across - 0.5, down + 0.5, across + 0.5, down + 0.5], axis=-1)
    lines = np.concatenate([upright, level]).reshape(-1, 2, 2)
    return LineCollection(list(lines), colors="white", linewidths=0.4, alpha=0.7)
