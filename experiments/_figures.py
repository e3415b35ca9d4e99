"""Figures that several experiments draw."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xaijax import metrics

#: Of series side by side: safe for the colour blind, and each with a mark of its own.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKS = ("o", "s", "^", "D")


def dots(
    panels: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    controls: Sequence[str] = (),
    lines: Mapping[str, float] | None = None,
    unit: str = "networks",
    width: float = 4.2,
) -> Any:
    """Draw what was measured of each method as its mean with the 95 % t-interval, and each unit of replication small.

    Args:
      panels: by the label of the panel's axis, by the name of a series, by method, the numbers of the units. Methods
        stand in the order of the first series of the first panel, the first on top.
      controls: methods that are there for comparison, in grey.
      lines: by panel, where a dashed line stands, to compare with.
      unit: what the numbers are of, in the plural.
      width: of a panel, in inches.

    Returns:
      The figure.
    """
    from matplotlib import pyplot as plt

    order = list(next(iter(next(iter(panels.values())).values())))
    size = (width * len(panels) + 1.5, 0.32 * len(order) + 1.2)
    figure, axes = plt.subplots(
        1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (label, series) in zip(axes[0], panels.items(), strict=True):
        grey = [method in controls for method in order]
        draw_rows(axis, {k: [rows.get(m, ()) for m in order] for k, rows in series.items()}, grey)
        if label in (lines or {}):
            axis.axvline((lines or {})[label], color="0.3", lw=1, ls="--", zorder=0)
        axis.set_xlabel(label)
        axis.set_yticks(range(len(order)), order)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_title(f"mean, its 95 % interval, and the {unit}", loc="left", fontsize=9)
    return figure


def draw_rows(
    axis: Any, series: Mapping[str, Sequence[Any]], grey: Sequence[bool] | None = None
) -> None:
    """Draw rows of means with their intervals and units, the series of a row under one another.

    Args:
      axis: a Matplotlib axis.
      series: by name, the numbers of the units for each row; a row without any stays empty.
      grey: which rows are there for comparison.
    """
    for i, (name, rows) in enumerate(series.items()):
        shift = 0.22 * (i - (len(series) - 1) / 2)
        for place, values in enumerate(rows):
            if not len(values):
                continue
            colour = "0.55" if grey and grey[place] else _COLOURS[i]
            _one(axis, np.asarray(values, float), place + shift, colour, i)
        if len(series) > 1:
            axis.plot([], [], _MARKS[i], color=_COLOURS[i], label=name)
    if len(series) > 1:
        axis.legend(loc="best", frameon=False, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)


def _one(axis: Any, values: np.ndarray, y: float, colour: str, i: int) -> None:
    mean, low, high, n = metrics.mean_interval(values)
    if n > 1:
        axis.plot([low, high], [y, y], color=colour, lw=2, solid_capstyle="butt")
        axis.plot(values, np.full(len(values), y), "|", color=colour, ms=6, alpha=0.7)
    axis.plot(mean, y, _MARKS[i], color=colour, ms=6)
