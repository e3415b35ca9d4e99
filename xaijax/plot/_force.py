"""What pushes the score of one row up from the base value, and what pushes it down."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from xaijax.plot._features import (
    NEGATIVE,
    POSITIVE,
    TEXT,
    UNDER,
    as_attribution,
    as_names,
    as_number,
    as_values,
    fit,
    label_numbers,
    make_axes,
    most_important,
    others,
    shorten,
    sign_colour,
    size,
    write_beside,
    write_ends,
    write_value,
)
from xaijax.plot._panel import SMALL, TITLE, text_width
from xaijax.plot._sheet import EDGE, LINE

_BAR, _HEAD, _GAP = 0.26, 0.06, 0.08  # inches: the height of the arrows, their heads, between texts
_OVER = 2 * LINE + 2 * _GAP  # over the arrows
_SIDE = 0.15  # beside them
_LABEL = 1.8  # the longest label
_HIGHER, _LOWER = "higher →", "← lower"


class _Part(NamedTuple):
    """One feature: the ends of its arrow, and its label."""

    start: float
    stop: float
    label: str

    @property
    def up(self) -> bool:
        return self.stop > self.start

    @property
    def middle(self) -> float:
        return (self.start + self.stop) / 2


def force(
    attribution: Float[np.ndarray, " d"],
    base_value: float,
    x: Any = None,
    *,
    names: Sequence[str] | None = None,
    max_features: int = 8,
    unit: str = "",
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw the features of one explanation as arrows that meet at the score.

    Red arrows push the score up to f(x), blue ones push it down; the most important meet there. The base value E[f(X)]
    is where the score would be without them.

    Args:
      attribution: one explanation `(d,)`, whose sum is the score less the base value.
      base_value: the score without features, such as the mean score of the background.
      x: the features' values `(d,)`, numbers or words, written beside their names.
      names: of the features.
      max_features: how many have an arrow of their own; on each side the last arrow is the sum of the others.
      unit: of the score, written under the axis.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure; labels are laid out for its present size.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, there is no feature, or a number is not finite.
      TypeError: `names` is one string, or `max_features` no integer.

    Examples:
      >>> ax = force(np.array([0.5, -2.0, 1.0]), 10.0, names=["age", "sex", "fare"])
      >>> [text.get_text() for text in ax.texts]
      ['fare', 'age', 'sex', 'f(x) = 9.5', 'E[f(X)] = 10', 'higher →', '← lower']
    """
    where = "force"
    phi = as_attribution(where, attribution, 1)
    base = as_number(where, "base_value", base_value)
    x, names = as_values(where, x, phi.shape), as_names(where, names, len(phi))
    shown, rest = most_important(where, np.abs(phi), max_features)
    score = base + float(phi.sum())
    parts = _parts(phi, score, shown, rest, names, x)
    inches = width - 2 * _SIDE if ax is None else size(ax)[0]
    limits, levels = _place(parts, base, score, inches)
    under = _BAR + _GAP + LINE * (1 + max((level for _, level in levels), default=0))
    ax = make_axes(ax, width, _OVER + under, left=_SIDE - EDGE, right=_SIDE - EDGE, bottom=UNDER)
    ax.set(xlim=limits, ylim=(under, -_OVER), yticks=[])  # downwards, in inches
    unit_of_inch = (limits[1] - limits[0]) / inches
    for part, (side, level) in zip(parts, levels, strict=True):
        colour, y = sign_colour(part.stop - part.start), _BAR + _GAP + level * LINE
        # Arrows meet with a flat end.
        head = 0.0 if part.stop == score else _HEAD * unit_of_inch
        corners = _arrow(part, head, _HEAD * unit_of_inch)
        ax.add_patch(Polygon(corners, facecolor=colour, edgecolor="white", linewidth=0.8))
        ax.plot([part.middle] * 2, [_BAR, y], color=colour, linewidth=0.6, zorder=0)
        write_beside(ax, part.label, (part.middle, y), side, va="top", color=colour)
    _mark_ends(ax, base, score, unit_of_inch)
    label_numbers(ax, "score", unit)
    return ax


def _parts(
    phi: Float[np.ndarray, " d"],
    score: float,
    shown: np.ndarray,
    rest: np.ndarray,
    names: Sequence[str],
    x: np.ndarray | None,
) -> list[_Part]:
    """The arrows, from the score outwards: first those that push it up, then those that push it down."""
    parts = []
    for sign in (1, -1):
        stop = score
        steps = [(i, float(phi[i])) for i in shown if sign * phi[i] > 0]
        left = [i for i in rest if sign * phi[i] > 0]
        named = [(_label(names, x, i), step) for i, step in steps]
        if left:
            label = others(len(left)) if len(left) > 1 else _label(names, x, left[0])
            named.append((label, float(phi[left].sum())))
        for label, step in named:
            parts.append(_Part(stop - step, stop, label))
            stop -= step
    return parts


def _label(names: Sequence[str], x: np.ndarray | None, i: int) -> str:
    value = "" if x is None else f" = {shorten(write_value(x[i]), 0.5 * _LABEL)}"
    return shorten(names[i], _LABEL - text_width(value, TITLE)) + value


def _place(
    parts: list[_Part], base: float, score: float, inches: float
) -> tuple[tuple[float, float], list[tuple[int, int]]]:
    """The limits of the axis, and for each label its side and its line.

    A label that is no wider than its arrow stands under it. Others reach outwards from the middle of their arrow, and
    those of outer arrows are above those of inner ones: so no label is in the way of another's line to its arrow.
    """
    widths = [text_width(part.label, SMALL) + 0.06 for part in parts]
    room = [(place, 0.02, 0.02) for part in parts for place in (part.start, part.stop)]
    for place, half in ((score, text_width(_HIGHER, TITLE) + _GAP), (base, 0.0)):
        room.append((place, half, half))

    def reach(k: int) -> tuple[float, float, float]:
        up = parts[k].up
        return parts[k].middle, widths[k] if up else 0.0, 0.0 if up else widths[k]

    low, high = fit(room + [reach(k) for k in range(len(parts))], inches)
    lengths = [abs(part.stop - part.start) / (high - low) * inches for part in parts]
    wide = [bool(width <= length) for width, length in zip(widths, lengths, strict=True)]
    low, high = fit(room + [reach(k) for k in range(len(parts)) if not wide[k]], inches)

    places: list[tuple[int, int]] = [(0, 0)] * len(parts)
    boxes = []  # of each label its line, and from where to where, in inches
    lines = []  # where the line to its arrow is, and how far down it goes
    for wanted in (True, False):
        for k in reversed(range(len(parts))):  # from outside
            if wide[k] is not wanted:
                continue
            at = (parts[k].middle - low) / (high - low) * inches
            left = at - widths[k] * (0.5 if wanted else float(parts[k].up))
            right, level = left + widths[k], 0
            while any(
                (line == level and right + _GAP > a and left - _GAP < b)
                or (line < level and a <= at <= b)
                for line, a, b in boxes
            ) or any(depth > level and left <= line <= right for line, depth in lines):
                level += 1
                if level > len(parts):  # no axis is wide enough: labels meet
                    break
            boxes.append((level, left, right))
            lines.append((at, level))
            if not wanted:
                places[k] = (-1 if parts[k].up else 1, level)
    return (low, high), places


def _arrow(part: _Part, head: float, notch: float) -> Float[np.ndarray, "6 2"]:
    """The corners of an arrow: it ends in a head, and begins with a notch for the head of the arrow before."""
    sign = 1 if part.up else -1
    x = np.array([part.start, part.start, part.start, part.stop, part.stop, part.stop])
    x += sign * np.array([0.0, notch, 0.0, 0.0, head, 0.0])
    return np.stack([x, _BAR * np.array([0, 0.5, 1, 1, 0.5, 0])], axis=-1)


def _mark_ends(ax: Axes, base: float, score: float, inch: float) -> None:
    """Write the score and the base value over their places, apart from each other."""
    spread, line = abs(score - base), -_GAP - LINE / 2
    texts = write_ends(score, base, spread)
    halves = [text_width(text, TITLE) / 2 * inch for text in texts]
    needed = sum(halves) + 1.5 * _GAP * inch
    apart = max(needed - spread, 0.0) / 2 * (1 if score >= base else -1)
    low, high = ax.get_xlim()
    ends = zip(texts, (score, base), halves, (apart, -apart), ("bold", "normal"), strict=True)
    style: dict[str, Any] = {"va": "center", "fontsize": TITLE}
    for text, place, half, push, weight in ends:
        at = np.clip(place + push, low + half, high - half)
        ax.text(at, line, text, ha="center", color=TEXT, weight=weight, **style)
        ax.plot([place] * 2, [-_GAP, 0], color=TEXT, linewidth=0.8)
    ax.plot([base] * 2, [0, _BAR], color="white", linewidth=0.8, dashes=(2, 2))
    ax.text(score - _GAP * inch, line - LINE, _HIGHER, ha="right", color=POSITIVE, **style)
    ax.text(score + _GAP * inch, line - LINE, _LOWER, ha="left", color=NEGATIVE, **style)
