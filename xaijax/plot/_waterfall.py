"""How the features of one row lead from the base value to its score."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from xaijax.plot._features import (
    FAINT,
    GREY,
    RULE,
    TEXT,
    UNDER,
    as_attribution,
    as_names,
    as_number,
    as_values,
    fit,
    label_numbers,
    label_rows,
    left_of,
    make_axes,
    most_important,
    others,
    sign_colour,
    size,
    write_amount,
    write_beside,
    write_ends,
    write_labels,
)
from xaijax.plot._panel import SMALL, TITLE, text_width

_ROW, _HALF, _HEAD = 0.29, 0.34, 0.07  # inches; half the height of an arrow, in rows; inches


def waterfall(
    attribution: Float[np.ndarray, " d"],
    base_value: float,
    x: Any = None,
    *,
    names: Sequence[str] | None = None,
    max_features: int = 10,
    unit: str = "",
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw how one explanation's features lead, one after another, from the base value up to the score.

    The base value E[f(X)] is at the bottom, the score f(x) on top: their difference is the sum of the arrows. Red ones
    raise the score, blue ones lower it; the most important is the last.

    Args:
      attribution: one explanation `(d,)`, whose sum is the score less the base value.
      base_value: the score without features, such as the mean score of the background.
      x: the features' values `(d,)`, numbers or words, written beside their names.
      names: of the features.
      max_features: how many have an arrow of their own; the first arrow is the sum of the others.
      unit: of the score, written under the axis.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, there is no feature, or a number is not finite.
      TypeError: `names` is one string, or `max_features` no integer.

    Examples:
      >>> ax = waterfall(np.array([0.5, -2.0, 1.0]), 10.0, names=["age", "sex", "fare"])
      >>> [text.get_text() for text in ax.texts]
      ['+0.500', '+1.00', '−2.00', 'E[f(X)] = 10', 'f(x) = 9.5']
    """
    where = "waterfall"
    phi = as_attribution(where, attribution, 1)
    base = as_number(where, "base_value", base_value)
    x, names = as_values(where, x, phi.shape), as_names(where, names, len(phi))
    shown, rest = most_important(where, np.abs(phi), max_features)
    labels, steps = write_labels(names, x, shown), phi[shown]
    if rest.size:
        labels.append(others(len(rest)))
        steps = np.append(steps, phi[rest].sum())
    # From the bottom, the last row, to the top.
    places = np.concatenate([[base], base + np.cumsum(steps[::-1])])[::-1]
    rows, spread = len(steps), float(np.ptp(places))
    ax = make_axes(ax, width, _ROW * (rows + 1.6), left=left_of(labels), bottom=UNDER)
    label_rows(ax, labels)
    ax.set_ylim(rows + 0.3, -1.3)

    inches = size(ax)[0]
    ends = write_ends(places[0], base, spread)
    halves = [text_width(text, TITLE) / 2 + 0.04 for text in ends]
    room = [(places[0], halves[0], halves[0]), (base, halves[1], halves[1])]
    room += [(place, 0.03, 0.03) for place in places]
    texts = [write_amount(step) for step in steps]
    beside = [text_width(text, SMALL) + 0.1 for text in texts]

    def reach(row: int) -> tuple[float, float, float]:
        back = steps[row] < 0
        return places[row], beside[row] if back else 0.0, 0.0 if back else beside[row]

    low, high = fit(room + [reach(row) for row in range(rows)], inches)
    # A number that its arrow has room for is inside, and needs none of the axis.
    inside = np.abs(steps) * inches / (high - low) > np.array(beside) + _HEAD
    low, high = fit(room + [reach(row) for row in range(rows) if not inside[row]], inches)
    ax.set_xlim(low, high)
    head = _HEAD * (high - low) / inches
    for row in reversed(range(rows)):
        start, stop = places[row + 1], places[row]
        arrow = _arrow(start, stop, row, head)
        faint = FAINT if rest.size and row == rows - 1 else 1.0
        ax.add_patch(Polygon(arrow, facecolor=sign_colour(steps[row]), alpha=faint, linewidth=0))
        above = row - 1 + _HALF if row else -0.7
        ax.plot([stop, stop], [row - _HALF, above], color=GREY, linewidth=0.6, dashes=(2, 2))
        if inside[row]:
            colour = "white" if faint == 1 else TEXT
            write_beside(ax, texts[row], ((start + stop) / 2, row), 0, color=colour)
        else:
            write_beside(ax, texts[row], (stop, row), -1 if stop < start else 1)
    ax.plot([base, base], [rows - 1 + _HALF, rows - 0.3], color=GREY, linewidth=0.6, dashes=(2, 2))
    for text, place, y in ((ends[1], base, rows - 0.05), (ends[0], places[0], -0.95)):
        ax.text(place, y, text, ha="center", va="center", fontsize=TITLE, color=TEXT)
    for row in range(rows - 1):
        ax.axhline(row + 0.5, color=RULE, linewidth=0.3, zorder=0)
    label_numbers(ax, "score", unit)
    return ax


def _arrow(start: float, stop: float, row: int, head: float) -> Float[np.ndarray, "5 2"]:
    """The corners of an arrow; a short one is all head."""
    neck = stop - np.sign(stop - start) * min(head, abs(stop - start))
    x = [start, neck, stop, neck, start]
    return np.stack([x, row + _HALF * np.array([-1, -1, 0, 1, 1])], axis=-1)
