"""What the plots of several methods share: numbers by name, a colour for each, and names where their lines end."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from xaijax.core._errors import complaint, nearest
from xaijax.plot._features import TEXT, as_numbers, one_line, shorten, size
from xaijax.plot._panel import SMALL, TITLE, check_maps, text_width
from xaijax.plot._sheet import LINE

# Six of the eight colours of Okabe and Ito, which the colour blind tell apart: yellow is too light for lines on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "os^Dv"  # each for as many methods as there are colours
_CONTROL = "0.55"
_DASHES = ((4, 1.5), (1.2, 1.2), (4, 1.2, 1.2, 1.2))
WIDTH, MARKER = 1.3, 3.5  # of a line and of a marker, in points
_LEADER, _HANDLE, _SPACE = 0.14, 0.2, 0.05  # right of the axis, in inches
_NAME = 1.6  # the longest name, in inches


class Style(NamedTuple):
    """How a method is drawn."""

    color: str
    marker: str
    dashes: tuple[float, ...]

    @property
    def line(self) -> dict[str, Any]:
        """For `Axes.plot`."""
        style = {"color": self.color, "linewidth": WIDTH, "markersize": MARKER, "clip_on": False}
        return style | ({"dashes": self.dashes} if self.dashes else {})


# --- Checks


def as_methods(
    where: str, argument: str, given: Any, *shapes: str
) -> dict[str, Float[np.ndarray, "*shape"]]:
    """Numbers by the names of methods as float64; NaN is a missing number.

    Args:
        where: The caller, for error messages.
        argument: What is checked.
        given: The mapping.
        shapes: What each of its values may be, such as `"(num_examples, num_points)"`.
    """
    check_maps(where, given, "names to numbers", argument)
    dims = {shape.count(",") + (not shape.endswith(",)")) for shape in shapes}
    found = {}
    for name, values in given.items():
        here = f"{argument}[{name!r}]"
        shape = np.shape(values)
        if len(shape) not in dims or 0 in shape:
            rule = f"be numbers {' or '.join(shapes)}, not empty"
            raise ValueError(complaint(where, here, rule, f"shape {shape}"))
        found[one_line(name)] = as_numbers(where, here, values, shape)
    return found


def check_one_length(where: str, argument: str, values: Mapping[str, np.ndarray]) -> int:
    """The length of the last axis; raise unless all have the same."""
    lengths = {name: a.shape[-1] for name, a in values.items()}
    first, expected = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != expected:
            rule = f"have as many numbers as {argument}[{first!r}], {expected}"
            raise ValueError(complaint(where, f"{argument}[{name!r}]", rule, length))
    return expected


def make_styles(
    where: str, names: Collection[str], controls: Sequence[str] = ()
) -> dict[str, Style]:
    """A colour and a marker for each method; grey dashes for controls."""
    if isinstance(controls, str):
        raise TypeError(complaint(where, "controls", "be a sequence of names", repr(controls)))
    grey = [one_line(name) for name in controls]
    for name in grey:
        if name not in names:
            fix = nearest(name, names)
            raise ValueError(complaint(where, "controls", "be names of methods", repr(name), fix))
    styles, colours = {}, len(COLOURS)
    for name in names:
        if name in grey:
            number = sum(bool(style.dashes) for style in styles.values())
            marker = _MARKERS[number // len(_DASHES) % len(_MARKERS)]
            styles[name] = Style(_CONTROL, marker, _DASHES[number % len(_DASHES)])
        else:
            number = sum(not style.dashes for style in styles.values())
            marker = _MARKERS[number // colours % len(_MARKERS)]
            styles[name] = Style(COLOURS[number % colours], marker, ())
    return styles


# --- Names at the ends of lines


def beside(names: Collection[str]) -> float:
    """The room that names at the ends of lines take, right of an axis."""
    widest = max(text_width(shorten(name, _NAME), TITLE) for name in names)
    return _LEADER + _HANDLE + 2 * _SPACE + widest


def label_ends(
    ax: Axes,
    ends: Mapping[str, tuple[float, float]],
    styles: Mapping[str, Style],
    *,
    marked: Collection[str],
) -> None:
    """Name methods right of an axis, in the order of the ends of their lines, without one name over another.

    Args:
        ax: The axis; its limits are set.
        ends: Where each line ends; NaN if it does not reach the right side, and then its name is below the others.
        styles: Of the methods.
        marked: The methods whose lines have markers.
    """
    height = size(ax)[1]
    at = ax.transData.transform(np.array(list(ends.values()), float))
    # In inches above the middle of the axis.
    up = (ax.transAxes.inverted().transform(at)[:, 1] - 0.5) * height
    edge = (height - LINE) / 2
    levels = spread(np.where(np.isnan(up), -np.inf, up), LINE, -edge, edge)
    # From the middle of the right side: so names keep apart if a layout moves the axis.
    axes: Any = ax.transAxes
    beyond = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0.5, axes)
    place: dict[str, Any] = {"transform": beyond, "clip_on": False}
    text: dict[str, Any] = {"va": "center_baseline", "color": TEXT, "parse_math": False}
    for (name, end), level in zip(ends.items(), levels, strict=True):
        style = styles[name]
        if np.isfinite(end).all():
            leader = {"arrowstyle": "-", "color": style.color, "linewidth": 0.5}
            leader |= {"shrinkA": 1.0, "shrinkB": 3.0}
            where: dict[str, Any] = {"textcoords": beyond, "annotation_clip": False}
            ax.annotate("", end, (_LEADER, level), arrowprops=leader, zorder=1, **where)
        handle = np.array([0, 0.5, 1]) * _HANDLE + _LEADER
        marker = {"marker": style.marker, "markevery": [1]} if name in marked else {}
        ax.plot(handle, [level] * 3, **style.line, **marker, transform=beyond)
        x = _LEADER + _HANDLE + _SPACE
        ax.text(x, level, shorten(name, _NAME), fontsize=TITLE, **place, **text)


def write_parts(parts: Sequence[str], width: float) -> list[str]:
    """Statements in lines of a given width, broken between them."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}, {part}"
        if text_width(longer, SMALL) <= width:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(part)
    return lines


def spread(
    places: Float[np.ndarray, " n"], apart: float, low: float, high: float
) -> Float[np.ndarray, " n"]:
    """Places that are at least so far apart, moved as little as can be; within limits that have room for all.

    Of equal places the first is the highest.
    """
    n = len(places)
    order = np.lexsort((-np.arange(n), places))
    missing = apart * (n - 1) - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    room = apart * np.arange(n)
    pools: list[list[float]] = []  # the mean of neighbours that move together, and their number
    for place in np.clip(places[order], low, high) - room:
        pools.append([place, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, m), (b, k) = pools[-2:]
            pools[-2:] = [[(m * a + k * b) / (m + k), m + k]]
    level = np.repeat([mean for mean, _ in pools], [int(count) for _, count in pools])
    moved = np.empty(n)
    moved[order] = np.clip(level, low, high - apart * (n - 1)) + room
    return moved
