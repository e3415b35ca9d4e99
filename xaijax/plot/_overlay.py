"""An attribution laid over the image that it explains."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from xaijax.core._errors import complaint
from xaijax.core._maps import resize

# Colour-blind safe: one for maps that only say how much, one for maps that say for or against.
_SEQUENTIAL, _DIVERGING = "inferno", "RdBu_r"


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

    Args:
      ax: a matplotlib axis.
      image: pixels `(h, w, 3)`, uint8 or floats in [0, 1]; shown in grey, so that colour means attribution.
      attribution: the raw map `(a, b)` of any size; it is resized to the image.
      title: what it is.
      unit: of the attribution, written on the colour bar.
      cmap: a matplotlib colour map; by default sequential for maps without negative values, otherwise diverging
        around zero.
      alpha: the opacity of the map.

    Returns:
      The drawn map, whose norm and colour map belong to the colour bar.

    Raises:
      ValueError: an attribution that is not a finite map.

    Examples:
      >>> import matplotlib; matplotlib.use("Agg")
      >>> import matplotlib.pyplot as plt
      >>> drawn = overlay(plt.figure().subplots(), np.zeros((4, 4, 3)), np.array([[-1.0, 3.0]]))
      >>> drawn.get_clim()
      (-3.0, 3.0)
    """
    image, attribution = np.asarray(image), np.asarray(attribution)
    if attribution.ndim != 2 or not np.isfinite(attribution).all():
        got = f"shape {attribution.shape}, {np.isfinite(attribution).mean():.0%} finite"
        fix = "Sum or average over the channels first."
        raise ValueError(complaint("overlay", "attribution", "be a finite map (h, w)", got, fix))
    signed = bool((attribution < 0).any())
    top = float(np.abs(attribution).max()) or 1.0
    drawn = np.asarray(resize(attribution, image.shape[:2]))
    grey = image.astype(float).mean(-1) / (255.0 if image.dtype == np.uint8 else 1.0)
    ax.imshow(grey, cmap="gray", vmin=0, vmax=1)
    shown = ax.imshow(
        drawn,
        cmap=cmap or (_DIVERGING if signed else _SEQUENTIAL),
        vmin=-top if signed else 0.0,
        vmax=top,
        alpha=alpha,
    )
    ax.set_title(title, fontsize=9, loc="left")
    ax.set_axis_off()
    figure: Any = ax.figure
    # The bar shows the colours as they look over the image.
    bar = figure.colorbar(shown, ax=ax, fraction=0.046, pad=0.03)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    return shown
