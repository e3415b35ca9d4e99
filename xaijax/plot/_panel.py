"""What every figure is made of: one image with one map over it, and a colour scale."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.textpath import TextToPath

from xaijax.core._errors import complaint, nearest
from xaijax.core._maps import resize

# Colour-blind safe: one for maps that only say how much, one for maps that say for or against.
_SEQUENTIAL, DIVERGING = "inferno", "RdBu_r"
TITLE, SMALL = 8.0, 7.0  # points
_MEASURE = TextToPath()


class Scale(NamedTuple):
    """How values become colours: one for one map, or shared by several."""

    norm: Normalize
    cmap: Colormap
    alpha: float

    def mix(self, values: np.ndarray, grey: np.ndarray | float) -> np.ndarray:
        """The colours of values over grey, as opaque RGB."""
        colours = self.cmap(np.clip(self.norm(values), 0, 1))[..., :3]
        return self.alpha * colours + (1 - self.alpha) * np.asarray(grey)[..., None]

    def bar(self) -> Colormap:
        """The colours over white, for a colour bar."""
        low, high = self.norm.vmin, self.norm.vmax
        assert low is not None
        assert high is not None
        return ListedColormap(self.mix(np.linspace(low, high, 256), 1.0))

    def ticks(self, middle: bool = True) -> dict[float, str]:
        """The ends, and the middle of a scale around zero, as they are written."""
        low, high = self.norm.vmin, self.norm.vmax
        assert low is not None
        assert high is not None
        places = (low, 0.0, high) if low < 0 and middle else (low, high)
        return {place: write_number(place, ".2g") for place in places}


def write_number(value: float, style: str) -> str:
    """A number for print: a true minus sign, and exponents without what they do not need."""
    mantissa, _, exponent = f"{value:{style}}".partition("e")
    text = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return text.replace("-", "\N{MINUS SIGN}")


def text_width(text: str, size: float) -> float:
    """The width of a text in inches."""
    return _MEASURE.get_text_width_height_descent(text, FontProperties(size=size), False)[0] / 72


def make_scale(
    where: str, maps: Iterable[np.ndarray], cmap: str | None, alpha: float
) -> Scale | None:
    """The scale of some maps: from 0 to the largest value, or around 0 if any value is negative.

    Args:
        where: The caller, for the error message.
        maps: The maps that share it.
        cmap: The name of a colour map, or None for the default.
        alpha: The opacity of the colours.

    Returns:
        The scale, or None if no map has anything to show.
    """
    if not 0 < alpha <= 1:
        raise ValueError(complaint(where, "alpha", "be above 0 and at most 1", alpha))
    known = list(matplotlib.colormaps)
    if cmap is not None and cmap not in known:
        rule, fix = "name a colour map of Matplotlib", nearest(str(cmap), known)
        raise ValueError(complaint(where, "cmap", rule, repr(cmap), fix))
    shown = [a for a in maps if not defect(a)]
    if not shown:
        return None
    top = max(float(np.abs(a).max()) for a in shown)
    signed = any(bool((a < 0).any()) for a in shown)
    colours = matplotlib.colormaps[cmap or (DIVERGING if signed else _SEQUENTIAL)]
    return Scale(Normalize(-top if signed else 0.0, top), colours, alpha)


def defect(a: np.ndarray) -> str:
    """Why a map shows nothing, or an empty text."""
    if not np.isfinite(a).all():
        return "not finite"
    return f"flat ({write_number(a.flat[0], '.3g')})" if a.max() <= a.min() else ""


def draw(ax: Axes, image: np.ndarray, a: np.ndarray, scale: Scale | None) -> AxesImage:
    """Draw a map over its image in grey, as one picture; a map that shows nothing says so."""
    grey = image.mean(-1)
    problem = defect(a)
    if problem or scale is None:
        shown = ax.imshow(np.repeat(grey[..., None], 3, -1))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        place: dict[str, Any] = {"x": 0.03, "y": 0.03, "transform": ax.transAxes}
        ax.text(s=problem, fontsize=SMALL, bbox=box, va="bottom", **place)
    else:
        shown = paint(ax, grey, a, scale)
    clear(ax)
    return shown


def paint(ax: Axes, grey: np.ndarray, a: np.ndarray, scale: Scale) -> AxesImage:
    """Draw the colours of a map over a grey image."""
    shown = ax.imshow(scale.mix(np.asarray(resize(a, grey.shape)), grey))
    # The picture has its colours already; these are for whoever wants to read them back.
    shown.set_cmap(scale.cmap)
    shown.set_norm(scale.norm)
    return shown


def clear(ax: Axes) -> None:
    """Leave the picture, and room for labels."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def show(ax: Axes, image: np.ndarray) -> None:
    """Draw an image as it is."""
    ax.imshow(np.broadcast_to(image, (*image.shape[:2], 3)))
    clear(ax)


def draw_bar(figure: Any, scale: Scale, *, middle: bool = True, **place: Any) -> Colorbar:
    """Draw the colour bar of a scale, labelled at its ends and at 0.

    Args:
        figure: The figure.
        scale: The scale.
        middle: Whether there is room for the 0 in the middle.
        place: Where, as `Figure.colorbar` takes it.
    """
    bar = figure.colorbar(ScalarMappable(scale.norm, scale.bar()), **place)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, length=2, width=0.5, pad=1.5)
    ticks = scale.ticks(middle)
    bar.set_ticks(list(ticks), labels=list(ticks.values()))
    # The labels of the ends stay within the length of the bar.
    if bar.orientation == "horizontal":
        labels = bar.ax.get_xticklabels()
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")
    else:
        labels = bar.ax.get_yticklabels()
        labels[0].set_verticalalignment("bottom")
        labels[-1].set_verticalalignment("top")
    return bar


def as_image(where: str, image: Any) -> Float[np.ndarray, "h w c"]:
    """The pixels as floats in [0, 1]."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:
        rule, fix = "be (h, w), (h, w, 1) or (h, w, 3)", "Give one image, channels last."
        raise ValueError(complaint(where, "image", rule, f"shape {np.shape(image)}", fix))
    if pixels.dtype == np.uint8:
        return pixels / 255.0
    pixels = pixels.astype(np.float64)
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 1):
        rule, fix = "be uint8, or floats in [0, 1]", "Show the photo, not the network's input."
        got = f"{np.asarray(image).dtype} from {low:.3g} to {high:.3g}"
        raise ValueError(complaint(where, "image", rule, got, fix))
    return pixels


def as_map(where: str, a: Any, name: str = "attribution") -> Float[np.ndarray, "a b"]:
    """The map as float64."""
    values = np.asarray(a)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind in "OSUc":
        got = f"shape {values.shape} of {values.dtype}"
        fix = "Sum or average over the channels first."
        raise ValueError(complaint(where, name, "be a map (h, w) of numbers", got, fix))
    return values.astype(np.float64)


def check_same_length(where: str, name: str, values: Sequence[Any], expected: int) -> None:
    """Raise unless there is one value for each image."""
    if len(values) != expected:
        rule = f"have one entry for each of the {expected} images"
        raise ValueError(complaint(where, name, rule, f"{len(values)} entries"))


def check_choice(where: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise unless the value is one of a few words."""
    if value not in choices:
        rule = f"be {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"
        raise ValueError(complaint(where, name, rule, repr(value)))


def check_maps(where: str, maps: Any, what: str, argument: str = "maps") -> None:
    """Raise unless there is a mapping with something in it."""
    if not isinstance(maps, Mapping) or not maps:
        got = "an empty mapping" if isinstance(maps, Mapping) else type(maps).__name__
        rule = f"be a mapping from {what}"
        raise TypeError(complaint(where, argument, rule, got))
