"""What the plots of features share: checks, the order of importance, labels, colours, and room for text."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xaijax.core._errors import check_positive, complaint, nearest
from xaijax.plot._panel import DIVERGING, SMALL, TITLE, Scale, draw_bar, text_width, write_number
from xaijax.plot._sheet import EDGE, LINE, wrap

# For and against: near the ends of the diverging map, which is safe for the colour blind.
POSITIVE = to_hex(matplotlib.colormaps[DIVERGING](0.9))
NEGATIVE = to_hex(matplotlib.colormaps[DIVERGING](0.1))
# Low and high values: between the same hues without white, in steps that the colour blind see, too.
VALUES = LinearSegmentedColormap.from_list("values", ["#174a9c", "#9c7ba6", "#f4604d"])
SIZE = "#7c5fa3"  # of sizes without a sign: neither
FAINT = 0.5  # the opacity of what sums other features up
GREY, TEXT, RULE = "0.6", "0.15", "0.8"  # without a value; of words; of lines
_NAME = 1.8  # the longest line of a label, in inches
_MOST = 400  # characters that no line has room for
_BAR = 0.62  # what a colour bar with its labels takes
#: A plot with a mark for each row has room for so many.
MOST_ROWS = 10_000


# --- Checks


def as_attribution(where: str, attribution: Any, *dims: int) -> Float[np.ndarray, "*shape"]:
    """The attribution as float64, with one of so many axes."""
    values = np.asarray(attribution)
    if values.ndim not in dims or values.dtype.kind in "OSUcMm" or 0 in values.shape:
        shapes = {1: "(num_features,)", 2: "(num_rows, num_features)"}
        rule = f"be numbers {' or '.join(shapes[n] for n in dims)}, not empty"
        got = f"shape {values.shape} of {values.dtype}"
        fix = {
            (1, 2): "Take one row: attribution[0].",
            (2, 1): "For one row see xaijax.plot.waterfall.",
        }.get((dims[0], values.ndim), "")
        raise ValueError(complaint(where, "attribution", rule, got, fix))
    values = values.astype(np.float64)
    check_finite(where, "attribution", values)
    return values


def check_finite(where: str, argument: str, values: np.ndarray) -> None:
    """Raise unless every number is finite."""
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        got = f"{bad} of {values.size} values NaN or infinite"
        raise ValueError(complaint(where, argument, "be finite", got, "Leave them out first."))


def check_rows(where: str, num_rows: int, most: int = MOST_ROWS) -> None:
    """Raise unless there is room for so many rows."""
    if num_rows > most:
        fix = f"Draw a sample: rows = rng.choice({num_rows}, {most}, replace=False)."
        rule = f"have at most {most} rows"
        raise ValueError(complaint(where, "attribution", rule, num_rows, fix))


def as_names(where: str, names: Sequence[str] | None, num_features: int) -> list[str]:
    """A name for each feature, on one line."""
    if names is None:
        return [f"feature {i}" for i in range(num_features)]
    if isinstance(names, str):
        raise TypeError(complaint(where, "names", "be a sequence of names", repr(names)))
    if len(names) != num_features:
        rule = f"have one name for each of the {num_features} features"
        raise ValueError(complaint(where, "names", rule, f"{len(names)} names"))
    return [one_line(name) for name in names]


def as_values(where: str, x: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The values of features, numbers or words, where there are any."""
    if x is None:
        return None
    values = np.asarray(x) if hasattr(x, "dtype") else np.asarray(x, object)
    if values.shape != shape:
        rule = f"have the shape of the attribution, {shape}"
        raise ValueError(complaint(where, "x", rule, f"shape {values.shape}"))
    return values


def as_numbers(
    where: str, argument: str, values: Any, shape: tuple[int, ...]
) -> Float[np.ndarray, "*shape"]:
    """Values of features as float64; NaN is a missing value."""
    given = np.asarray(values)
    try:
        numbers = given.astype(np.float64)
    except (TypeError, ValueError):
        fix = "Number the categories first."
        raise ValueError(complaint(where, argument, "be numbers", given.dtype, fix)) from None
    if numbers.shape != shape:
        rule = f"have the shape {shape}"
        raise ValueError(complaint(where, argument, rule, f"shape {numbers.shape}"))
    if np.isinf(numbers).any():
        got = f"{np.isinf(numbers).sum()} infinite values"
        fix = "NaN stands for a missing value."
        raise ValueError(complaint(where, argument, "be finite or NaN", got, fix))
    return numbers


def as_number(where: str, argument: str, value: Any) -> float:
    """One finite number."""
    given = np.asarray(value)
    if given.size != 1 or given.dtype.kind in "OSUcMm":
        got = f"shape {given.shape} of {given.dtype}"
        raise ValueError(complaint(where, argument, "be one number", got))
    check_finite(where, argument, number := given.astype(np.float64))
    return float(number.reshape(()))


def find_feature(where: str, argument: str, feature: Any, names: Sequence[str]) -> int:
    """The number of a feature, from its number or its name."""
    if isinstance(feature, str):
        feature = one_line(feature)
        if names.count(feature) == 1:
            return names.index(feature)
        got = f"{feature!r}, the name of {names.count(feature)}"
        fix = "Give its number." if feature in names else nearest(feature, names)
        raise ValueError(complaint(where, argument, "name one feature", got, fix))
    if isinstance(feature, bool) or not isinstance(feature, int | np.integer):
        raise TypeError(complaint(where, argument, "be a feature's name or number", repr(feature)))
    if not 0 <= feature < len(names):
        raise ValueError(complaint(where, argument, f"be in [0, {len(names)})", feature))
    return int(feature)


# --- Order and labels


def most_important(
    where: str, importance: Float[np.ndarray, " d"], max_features: int
) -> tuple[Int[np.ndarray, " shown"], Int[np.ndarray, " rest"]]:
    """The most important features in their order, and the rest: none, or several."""
    check_positive(where, max_features=max_features)
    order = np.argsort(-importance, kind="stable")
    # The sum of one feature would take the room of that feature.
    shown = max_features if max_features != len(order) - 1 else len(order)
    return order[:shown], order[shown:]


def others(count: int) -> str:
    """What is written beside the sum of the features that are not shown."""
    return f"{count} other features"


def write_labels(names: Sequence[str], x: np.ndarray | None, which: Iterable[int]) -> list[str]:
    """The names of some features, and their values where there are any, on at most two lines each."""
    labels = []
    for i in which:
        # What stands for the space keeps the value at its sign.
        value = "" if x is None else f" =_{shorten(write_value(x[i]), 0.7 * _NAME)}"
        room = 2 * _NAME - text_width(value, TITLE)
        lines = wrap(shorten(names[i], room) + value, _NAME)
        while len(lines) > 2:  # lines break early
            room *= 0.95
            lines = wrap(shorten(names[i], room) + value, _NAME)
        label = "\n".join(lines)
        labels.append("= ".join(label.rsplit("=_", 1)) if value else label)
    return labels


def write_value(value: Any) -> str:
    """A feature's value: a number in few digits, anything else as it is."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return write_number(value + 0.0, ".4g")
    return one_line(value).replace("-", "\N{MINUS SIGN}" if isinstance(value, int) else "-")


def write_near(value: float, spread: float) -> str:
    """A number in the digits that matter where numbers differ by the spread."""
    if spread <= 0:
        return write_number(value + 0.0, ".4g")
    places = 2 - int(np.floor(np.log10(spread)))
    rounded = round(value, places) + 0.0
    if 1e-4 <= abs(rounded) < 1e7:
        text = write_number(rounded, f".{max(places, 0)}f")
        return text.rstrip("0").removesuffix(".") if "." in text else text
    digits = places + int(np.floor(np.log10(abs(rounded)))) + 1 if rounded else 1
    return write_number(rounded, f".{min(max(digits, 1), 15)}g")


def write_amount(value: float, sign: str = "+") -> str:
    """An attribution, in three digits."""
    return write_number(value + 0.0, f"{sign}#.3g").replace(".e", "e").removesuffix(".")


def shorten(text: str, width: float) -> str:
    """A text in a given width; what is too much goes out of its middle, for the ends tell names apart."""
    if len(text) > _MOST:  # to measure it would take long
        text = text[: _MOST // 2] + text[-_MOST // 2 :]
    kept, short = len(text), text
    while text_width(short, TITLE) > width and kept > 2:
        # The width says how much to leave out, and the loop whether it was enough.
        kept = min(kept - 1, int(kept * width / text_width(short, TITLE)) + 1)
        short = text[: (kept + 1) // 2].rstrip() + "…" + text[len(text) - kept // 2 :].lstrip()
    return short


def one_line(text: Any) -> str:
    """A text without breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


# --- Colours


def sign_colour(value: float) -> str:
    """Red for what speaks for the target, blue for what speaks against it."""
    return NEGATIVE if value < 0 else POSITIVE


def make_norm(values: Float[np.ndarray, " n"]) -> Normalize | None:
    """From low to high but for a few outliers; None where all values are the same, or missing."""
    known = values[np.isfinite(values)]
    for outside in (5, 1, 0):
        low, high = np.percentile(known, (outside, 100 - outside)) if known.size else (0, 0)
        if low < high:
            return Normalize(low, high)
    return None


def colour_values(
    values: Float[np.ndarray, " n"], norm: Normalize | None
) -> Float[np.ndarray, "n 4"]:
    """The colours of values; grey without a value or a scale."""
    known = np.isfinite(values)
    colours = np.tile(to_rgba(GREY), (len(values), 1))
    if norm is not None:
        colours[known] = VALUES(norm(values[known]))
    return colours


def draw_value_bar(ax: Axes, scale: Scale, label: str) -> Colorbar:
    """Draw a colour bar right of an axis."""
    width, height = size(ax)
    place = {"fraction": (_BAR - 0.1) / width, "pad": 0.1 / width, "aspect": height / 0.07}
    low, high = scale.norm.vmin, scale.norm.vmax
    assert low is not None
    assert high is not None
    bar = draw_bar(ax.figure, scale, middle=low < 0 < high, ax=ax, **place)
    label = shorten(label, max(height, 0.5))
    bar.set_label(label, fontsize=SMALL, labelpad=2, color=TEXT, parse_math=False)
    if not low < 0 < high and text_width(label, SMALL) < height - 3 * LINE:
        bar.ax.yaxis.set_label_coords(2.2, 0.5)  # between the numbers at the ends
    return bar


# --- Room


def make_axes(
    ax: Axes | None,
    width: float,
    height: float,
    *,
    left: float = 0.0,
    right: float = 0.15,
    top: float = 0.0,
    bottom: float = 0.0,
) -> Axes:
    """The axis that is given, or one of this height in a new figure, in inches; around it is room for text."""
    if ax is not None:
        return ax
    total = height + top + bottom + 2 * EDGE
    inner = width - left - right - 2 * EDGE
    if inner < 0.5:
        least = width - inner + 0.5
        raise ValueError(complaint("plot", "width", f"be at least {least:.2g} inches", width))
    figure = Figure((width, total))
    place = ((left + EDGE) / width, (bottom + EDGE) / total, inner / width, height / total)
    return figure.add_axes(place)


def size(ax: Axes) -> tuple[float, float]:
    """The width and the height of an axis, in inches."""
    figure: Any = ax.figure.figure
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()  # it moves the axes
    box = ax.get_window_extent()
    return box.width / figure.dpi, box.height / figure.dpi


def left_of(labels: Iterable[str]) -> float:
    """The room that labels take."""
    lines = [line for label in labels for line in label.split("\n")]
    return 1.03 * max(text_width(line, TITLE) for line in lines) + 0.1


def fit(ends: Iterable[tuple[float, float, float]], width: float) -> tuple[float, float]:
    """The narrowest limits of an axis that leave room for texts.

    Args:
        ends: Of each text its place, and how far it reaches to the left and to the right of it, in inches.
        width: Of the axis, in inches.
    """
    places, left, right = np.array(list(ends)).T
    # Between text i on the left and text j on the right: units of the axis to an inch.
    between = np.maximum(width - left[:, None] - right, 0.2 * width)
    unit, largest = ((places - places[:, None]) / between).max(), np.abs(places).max()
    # Of one place a part of it; of places nearly the same what their digits tell apart.
    unit = max(unit, 1e-13 * largest) if unit else 0.1 * largest or 1.0
    return (places - left * unit).min(), (places + right * unit).max()


def label_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Name the rows of an axis, from top to bottom."""
    ax.set_yticks(range(len(labels)), labels, fontsize=TITLE, color=TEXT, parse_math=False)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.tick_params("y", length=0, pad=4)


def label_numbers(ax: Axes, label: str, unit: str = "") -> None:
    """Ticks and a label for numbers on the axis below, and no other frame."""
    label_axis(ax.xaxis, f"{label} ({unit})" if unit else label)
    ax.spines[["top", "left", "right"]].set_visible(False)


def label_axis(axis: XAxis | YAxis, label: str) -> None:
    """Few ticks, in as many digits as it takes to tell them apart, and a label."""
    low, high = axis.get_view_interval()
    marks = (
        ticks(low, high) if axis.axis_name == "y" else _ticks_apart(low, high, size(axis.axes)[0])
    )
    axis.set_ticks(list(marks), list(marks.values()))
    axis.set_tick_params(labelsize=SMALL, length=2, width=0.5, pad=2, color=GREY, labelcolor=TEXT)
    axis.set_label_text(label, fontsize=TITLE, color=TEXT, parse_math=False)
    axis.labelpad = 2
    axis.axes.spines[["bottom" if axis.axis_name == "x" else "left"]].set(color=GREY, linewidth=0.5)


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> dict[float, str]:
    """Round numbers within limits, as they are written."""
    places = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    return {tick: write_near(tick, high - low) for tick in places if low <= tick <= high}


def _ticks_apart(low: float, high: float, inches: float) -> dict[float, str]:
    """Those whose texts stand side by side on an axis, and end close to its ends."""
    unit, marks = (high - low) / inches, {}
    for most in (6, 4, 3, 2):
        marks = ticks(low, high, most)
        widest = max(text_width(text, SMALL) for text in marks.values()) if marks else 0.0
        if (np.diff(list(marks)) / unit > widest + 0.08).all():
            break
    ends = {tick: min(tick - low, high - tick) / unit + 0.1 for tick in marks}
    return {k: text for k, text in marks.items() if text_width(text, SMALL) / 2 <= ends[k]}


def write_beside(ax: Axes, text: str, place: tuple[float, float], side: int, **style: Any) -> None:
    """Write a text left (-1) or right (1) of a place, a little apart from it."""
    apart: dict[str, Any] = {"xytext": (3 * side, 0), "textcoords": "offset points"}
    align = {-1: "right", 0: "center", 1: "left"}[side]
    style = {"va": "center_baseline", "color": TEXT, "fontsize": SMALL, **style}
    ax.annotate(text, place, ha=align, parse_math=False, **apart, **style)


def write_ends(score: float, base: float, spread: float) -> tuple[str, str]:
    """How the score and the base value are written."""
    return f"f(x) = {write_near(score, spread)}", f"E[f(X)] = {write_near(base, spread)}"


#: The room under an axis for what `label_numbers` draws.
UNDER = 2 * LINE + 0.08
