"""An attribution laid over the image that it explains."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from xaijax.plot._panel import SMALL, TITLE, as_image, as_map, draw, draw_bar, make_scale


def overlay(
    ax: Axes,
    image: Float[np.ndarray, "h w c"],
    attribution: Float[np.ndarray, "a b"],
    *,
    title: str = "",
    unit: str = "",
    cmap: str | None = None,
    alpha: float = 0.6,
) -> AxesImage:
    """Draw an attribution over its image, with a colour bar in the attribution's own unit.

    A map that is the same everywhere, or not finite, has no colours and no bar, and says so in the picture.

    Args:
      ax: a Matplotlib axis.
      image: pixels `(h, w, 3)` or `(h, w)`, uint8 or floats in [0, 1]; shown in grey, so that colour means
        attribution.
      attribution: the raw map `(a, b)` of any size; it is resized to the image.
      title: what it is.
      unit: of the attribution, written on the colour bar.
      cmap: the name of a Matplotlib colour map; by default sequential for maps without negative values, otherwise
        diverging around zero.
      alpha: the opacity of the map.

    Returns:
      The drawn picture, with the norm and the colour map of the colour bar.

    Raises:
      ValueError: the image or the attribution has another shape or range, or the colour map is unknown.

    Examples:
      >>> from matplotlib.figure import Figure
      >>> drawn = overlay(Figure().subplots(), np.zeros((4, 4, 3)), np.array([[-1.0, 3.0]]))
      >>> drawn.get_clim()
      (-3.0, 3.0)
    """
    pixels, a = as_image("overlay", image), as_map("overlay", attribution)
    scale = make_scale("overlay", [a], cmap, alpha)
    shown = draw(ax, pixels, a, scale)
    ax.set_title(title, fontsize=TITLE + 1, loc="left")
    if scale is not None:
        aspect = pixels.shape[0] / pixels.shape[1] / 0.046
        bar = draw_bar(ax.figure, scale, ax=ax, fraction=0.046, pad=0.03, aspect=aspect)
        bar.set_label(unit, fontsize=SMALL)
    return shown
