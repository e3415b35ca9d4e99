"""What each feature does in many rows, and at which of its values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from xaijax.plot._features import (
    RULE,
    UNDER,
    VALUES,
    as_attribution,
    as_names,
    as_numbers,
    check_rows,
    colour_values,
    draw_value_bar,
    fit,
    label_numbers,
    label_rows,
    left_of,
    make_axes,
    make_norm,
    most_important,
    others,
    size,
    write_labels,
)
from xaijax.plot._panel import Scale
from xaijax.plot._swarm import crowd, lanes

_ROW = 0.42  # inches
_PART = 0.88  # of a row's height, for points
_DIAMETERS = np.geomspace(4.5, 1.2, 24) / 72  # inches, as large as there is room for


def beeswarm(
    attribution: Float[np.ndarray, "n d"],
    x: Any = None,
    *,
    names: Sequence[str] | None = None,
    max_features: int = 10,
    unit: str = "",
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw the attributions of many rows, one point for each, coloured by the feature's value.

    The most important feature, by mean size, is on top. A point stands exactly at its attribution. Points are as large
    as they can be without one covering another; only where too many are nearly equal they move together. A feature that
    has one value in all rows, a missing value and the sum of the other features are grey.

    Args:
      attribution: one explanation in each row `(n, d)`.
      x: the features' values in these rows `(n, d)`, numbers; NaN is a missing value.
      names: of the features.
      max_features: how many have a row of points of their own; the last row is the sum of the others.
      unit: of the attribution, written under the axis.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure; points are laid out for its present size.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, there is no feature, a number is not finite, or there are too many
        rows to see.
      TypeError: `names` is one string, or `max_features` no integer.

    Examples:
      >>> phi = np.array([[0.5, -2.0], [0.1, 3.0], [0.1, 1.0]])
      >>> ax = beeswarm(phi, names=["age", "fare"])
      >>> [label.get_text() for label in ax.get_yticklabels()]
      ['fare', 'age']
      >>> ax.collections[1].get_offsets()[:, 0].tolist()
      [0.5, 0.1, 0.1]
    """
    where = "beeswarm"
    phi = as_attribution(where, attribution, 2)
    check_rows(where, len(phi))
    values = None if x is None else as_numbers(where, "x", x, phi.shape)
    names = as_names(where, names, phi.shape[1])
    shown, rest = most_important(where, np.abs(phi).mean(0), max_features)
    labels, rows = write_labels(names, None, shown), list(phi[:, shown].T)
    if rest.size:
        labels.append(others(len(rest)))
        rows.append(phi[:, rest].sum(1))

    ax = make_axes(ax, width, _ROW * max(len(rows), 2), left=left_of(labels), bottom=UNDER)
    label_rows(ax, labels)
    if values is not None:
        words = draw_value_bar(ax, Scale(Normalize(0, 1), VALUES, 1.0), "feature value")
        words.set_ticks([0, 1], labels=["low", "high"])
    inches, height = size(ax)
    lane = _PART * height / len(rows)
    edge = _DIAMETERS[0] / 2 + 0.02
    low, high = fit([(end, edge, edge) for end in (0.0, np.min(rows), np.max(rows))], inches)
    ax.set_xlim(low, high)
    places = [(row - low) / (high - low) * inches for row in rows]
    fits = [d for d in _DIAMETERS if all(crowd(p, d) * d <= lane for p in places)]
    diameter = fits[0] if fits else _DIAMETERS[-1]
    ax.axvline(0, color=RULE, linewidth=0.75, zorder=0)
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        ax.axhline(number, color=RULE, linewidth=0.3, zorder=0)
        apart = min(diameter, lane / crowd(place, diameter)) * len(rows) / height
        norm, seen = None, np.full(len(row), np.nan)
        if values is not None and number < len(shown):
            seen = values[:, shown[number]]
            norm = make_norm(seen)
        ax.scatter(
            row,
            number + apart * lanes(place, diameter),
            s=(72 * diameter) ** 2,
            c=colour_values(seen, norm),
            linewidths=0,
            rasterized=phi.size > 20_000,
        )
    label_numbers(ax, "attribution", unit)
    return ax
