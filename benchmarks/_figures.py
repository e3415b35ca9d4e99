"""Figures of the tables of `_numbers`, for eyes of any colour vision and for print.

A figure of many methods is a grid: a line for each method, a column for each workload, so that a method is found once.
A hollow mark is of a noisy row.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from benchmarks._numbers import groups, lines, where

# The colours of Okabe and Ito, which people of any colour vision tell apart; their yellow is too pale for a line.
_BLACK, _BLUE, _VERMILION, _GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
_COLOURS = (_BLUE, _VERMILION, _GREEN, "#CC79A7", "#E69F00", "#56B4E9", _BLACK)
_MARKERS = "osD^vP*X<>hd"
_FAMILIES = {"gradient": _BLUE, "CAM": _GREEN, "sampling": _VERMILION, "no model": "#777777"}
_GREY = "#B0B0B0"
# Sizes in points and inches: text, the height of a line of a grid, the width of a column.
_TEXT, _LINE, _COLUMN = 8, 0.165, 1.7
_DOT = {"markersize": 4.5, "linestyle": "none", "markeredgewidth": 0.9}
# Ratios that are worth a number on an axis.
_OVERHEADS = (0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100)
_RATIOS = (1e-3, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1e4)


class _Cell(NamedTuple):
    axes: Axes
    line: int
    height: float
    row: Any
    look: dict[str, Any]


def throughput(costs: pd.DataFrame) -> Figure:
    """Explanations per second of each method, on each workload."""
    figure, cells = _grid(costs)
    for cell in cells:
        cell.axes.plot(cell.row.explanations_per_second, cell.height, **cell.look)
    for axes in figure.axes:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel("explanations per second", fontsize=_TEXT + 1)
    _legend(figure, _families(costs) + _batches(costs))
    return figure


def overhead(costs: pd.DataFrame) -> Figure:
    """The time of each method over that of its model evaluations, with intervals and limits."""
    known = where(costs, costs.overhead.notna())
    figure, cells = _grid(known)
    for axes, line, height, row, look in cells:
        axes.plot([row.overhead_low, row.overhead_high], [height] * 2, color=look["color"], lw=1)
        axes.plot(row.overhead, height, **look)
        # Limits of lines below each other join: there are three.
        ends = [line - 0.5, line + 0.5]
        axes.plot([row.limit] * 2, ends, color=_BLACK, lw=1.1, ls=(0, (2, 1)), zorder=1)
    for axes in figure.axes:
        axes.axvline(1, color=_GREY, linewidth=1, zorder=0)
        _ratio_axis(axes, _OVERHEADS)
    limit = Line2D([], [], color=_BLACK, lw=1.1, ls=(0, (2, 1)), label="limit")
    figure.supxlabel("overhead: time / time of the model evaluations", fontsize=_TEXT + 1)
    _legend(figure, [*_families(known), *_batches(known), limit])
    return figure


def scaling(points: pd.DataFrame, slopes: pd.DataFrame) -> Figure:
    """Seconds along each axis, a panel for each axis and workload; the slopes stand in the legend."""
    panels = list(groups(points, ["axis", "workload"]))
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(10.5, 2.7 * rows + 0.2), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, ((axis, workload), panel) in zip(grid, panels, strict=False):
        fitted = where(slopes, (slopes.axis == axis) & (slopes.workload == workload))
        for i, (method, curve) in enumerate(groups(panel, "method")):
            text = f"{method}: {_slope(where(fitted, fitted.method == method).iloc[0])}"
            _curve(axes, i, curve.sort_values("value"), text)
        axes.set(xscale="log", yscale="log")
        ticks = sorted(set(panel.value))
        _ticks(axes, ticks, math.log(ticks[-1] / ticks[0]) / (7 if ticks[-1] < 10_000 else 5))
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=[1] if high / low > 30 else [1, 2, 5]))
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
        axes.yaxis.set_minor_formatter(NullFormatter())
        _labels(axes, str(axis), "seconds", _wrapped(str(workload), 48))
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.03)}
        legend = axes.legend(
            fontsize=_TEXT - 1, frameon=False, title="log-log slope", alignment="left", **place
        )
        legend.get_title().set_fontsize(_TEXT - 1)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


def time_to_error(errors: pd.DataFrame) -> Figure:
    """Seconds against the error that they bought, a panel for each workload; hollow where the goal was missed."""
    panels = list(groups(errors, "workload"))
    libraries, methods = (list(dict.fromkeys(errors[c])) for c in ("library", "method"))
    figure = Figure(figsize=(7.2, 3.2 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False).ravel()
    for axes, (workload, panel) in zip(grid, panels, strict=True):
        for (library, method), dots in groups(panel, ["library", "method"]):
            colour = _COLOURS[libraries.index(library) % len(_COLOURS)]
            marker = _MARKERS[methods.index(method) % len(_MARKERS)]
            _error_dots(axes, dots.sort_values("error"), colour, marker)
        for wanted in sorted(set(panel.wanted.dropna())):
            axes.axvline(wanted, color=_GREY, linewidth=1, zorder=0)
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=[1, 2, 5]))
            axis.set_major_formatter(FuncFormatter(_number))
            axis.set_minor_formatter(NullFormatter())
        _labels(axes, "error (grey: what was wanted)", "seconds per explanation", str(workload))
    handles = [_key(name, "o", _COLOURS[i % 7]) for i, name in enumerate(libraries)]
    handles += [_key(name, _MARKERS[i % 12], "#555555") for i, name in enumerate(methods)]
    if not errors.reached.all():
        handles.append(_key("not reached", "o", "#555555", "white"))
    figure.legend(handles=handles, loc="outside right upper", fontsize=_TEXT, frameon=False)
    return figure


def peers(peers: pd.DataFrame) -> Figure:
    """The time of each peer over ours, and what it is made of: the models' ratio and the overheads' ratio."""
    names: list[str] = []
    size = (7.4, _LINE * (len(peers) + peers.peer.nunique()) + 1)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for peer, panel in groups(peers.sort_values("peer", kind="stable"), "peer"):
        names.append(" ".join(filter(None, (str(peer), panel.version.iloc[0]))))
        panel = panel.sort_values(["method", "workload", "batch", "variant"], kind="stable")
        for row in lines(panel):
            _peer_dots(axes, len(names), row)
            names.append(_peer_label(row))
    axes.axvline(1, color=_GREY, linewidth=1, zorder=0)
    _lines(axes, names)
    for label in axes.get_yticklabels():
        label.set_fontweight("normal" if "," in label.get_text() else "bold")
    _ratio_axis(axes, _RATIOS, count=9)
    axes.set_xlabel("right of 1: xaijax takes less", fontsize=_TEXT + 1)
    _legend(
        figure, [_key(t, m, c, c if n == "ratio" else "white") for n, (m, c, t) in _PARTS.items()]
    )
    return figure


def _peer_dots(axes: Axes, line: int, row: Any) -> None:
    for name, (marker, colour, _) in _PARTS.items():
        median, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
        face = colour if name == "ratio" and not row.noisy else "white"
        axes.plot([low, high], [line] * 2, color=colour, lw=1)
        axes.plot(median, line, marker=marker, color=colour, mfc=face, **_DOT)


# In the order in which they are drawn: the ratio of the times lies on top of its two factors.
_PARTS = {
    "overheads": ("^", _VERMILION, "their overhead / ours"),
    "forwards": ("s", _BLUE, "their bare model / ours"),
    "ratio": ("o", _BLACK, "their time / ours (the product)"),
}


def _grid(costs: pd.DataFrame) -> tuple[Figure, list[_Cell]]:
    """A line for each method, a column for each workload; batches of one method lie a little apart."""
    order = list(_FAMILIES)
    ranked = costs.assign(rank=costs.family.map(order.index)).groupby("method", as_index=False)
    ranked = ranked.agg({"rank": "min", "evaluations": "median"})
    methods = list(ranked.sort_values(["rank", "evaluations", "method"]).method)
    workloads, batches = list(dict.fromkeys(costs.workload)), sorted(set(costs.batch))
    size = (1.9 + _COLUMN * len(workloads), _LINE * len(methods) + 1.5)
    figure = Figure(figsize=size, layout="constrained")
    columns = figure.subplots(1, len(workloads), sharey=True, squeeze=False).ravel()
    cells = []
    for axes, workload in zip(columns, workloads, strict=True):
        axes.set_title(_wrapped(str(workload), 20), fontsize=_TEXT)
        for row in lines(where(costs, costs.workload == workload)):
            batch, colour = batches.index(row.batch), _FAMILIES[str(row.family)]
            line = methods.index(str(row.method))
            height = line + 0.4 * (batch - (len(batches) - 1) / 2) / len(batches)
            look = {"marker": _MARKERS[batch % 12], "color": colour, **_DOT}
            face = "white" if row.noisy else colour
            cells.append(_Cell(axes, line, height, row, {**look, "markerfacecolor": face}))
        _lines(axes, methods)
    return figure, cells


def _lines(axes: Axes, names: Sequence[str]) -> None:
    """Names down the left side, the first on top, and every second line shaded."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    for line in range(0, len(names), 2):
        axes.axhspan(line - 0.5, line + 0.5, color="#F3F3F3", zorder=-1, linewidth=0)
    axes.tick_params(axis="y", length=0)
    _plain(axes)


def _ratio_axis(axes: Axes, ticks: Sequence[float], count: int = 6) -> None:
    """A logarithmic axis with numbers a reader knows, 1 among them."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    low, high = min(low, 0.9), max(high, 1.2)
    axes.set_xlim(low, high)
    inside = sorted((t for t in ticks if low <= t <= high), key=lambda tick: abs(math.log(tick)))
    _ticks(axes, inside, math.log(high / low) / count)


def _ticks(axes: Axes, ticks: Sequence[float], apart: float) -> None:
    """Numbers at these values of a logarithmic axis, but for those too near to an earlier one."""
    shown: list[float] = []
    for tick in ticks:
        if all(abs(math.log(tick / other)) >= apart for other in shown):
            shown.append(tick)
    axes.xaxis.set_major_locator(FixedLocator(sorted(shown)))
    axes.xaxis.set_major_formatter(FuncFormatter(_number))
    axes.xaxis.set_minor_locator(FixedLocator([]))


def _number(value: float, _: Any = None) -> str:
    return f"{value:g}"


def _curve(axes: Axes, number: int, curve: pd.DataFrame, text: str) -> None:
    colour, marker = _COLOURS[number % 7], _MARKERS[number % 12]
    style = ["-", "--", ":"][number // 7 % 3]
    look = {"color": colour, "marker": marker, "markersize": 4, "linestyle": style, "linewidth": 1}
    axes.plot(curve.value, curve.seconds, label=text, **look)
    axes.fill_between(curve.value, curve.seconds_q25, curve.seconds_q75, color=colour, alpha=0.15)


def _error_dots(axes: Axes, dots: pd.DataFrame, colour: str, marker: str) -> None:
    axes.plot(dots.error, dots.seconds, color=colour, linewidth=0.6, alpha=0.6)
    for dot in lines(dots):
        axes.plot([dot.error] * 2, [dot.seconds_q25, dot.seconds_q75], color=colour, linewidth=0.9)
        face = colour if dot.reached else "white"
        axes.plot(dot.error, dot.seconds, marker=marker, color=colour, mfc=face, **_DOT)


def _slope(found: Any) -> str:
    text = f"{found.slope:.2f}"
    if not math.isnan(found.slope_low):
        text += f" [{found.slope_low:.2f}, {found.slope_high:.2f}]"
    if math.isnan(found.flat_to):
        return text
    return f"{text}, flat to {found.flat_to:g}"


def _peer_label(row: Any) -> str:
    workload = str(row.workload).rpartition(" (v")[0] or row.workload
    # The whole of it stands in the table.
    variant = f" ({str(row.variant).split(',')[0]})" if row.variant else ""
    return f"{row.method}, {workload.split(',')[0]}, batch {row.batch}{variant}"


def _families(costs: pd.DataFrame) -> list[Artist]:
    return [_key(name, "o", _FAMILIES[name]) for name in _FAMILIES if name in set(costs.family)]


def _batches(costs: pd.DataFrame) -> list[Artist]:
    sizes = sorted(set(costs.batch))
    keys = [_key(f"batch {size}", _MARKERS[i % 12], "#555555") for i, size in enumerate(sizes)]
    return keys + ([_key("noisy", "o", "#555555", "white")] if costs.noisy.any() else [])


def _key(text: str, marker: str, colour: str, face: str | None = None) -> Artist:
    return Line2D([], [], marker=marker, color=colour, mfc=face or colour, label=text, **_DOT)


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    where = {"loc": "outside upper center", "ncols": max(2, int(figure.get_figwidth() / 1.3))}
    figure.legend(handles=list(handles), fontsize=_TEXT, frameon=False, **where)


def _labels(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x, fontsize=_TEXT)
    axes.set_ylabel(y, fontsize=_TEXT)
    axes.set_title(title, fontsize=_TEXT, loc="left")
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=_TEXT)
    axes.spines[["top", "right"]].set_visible(False)


def _wrapped(text: str, width: int) -> str:
    """Over several lines, which do not end within a size."""
    return textwrap.fill(text.replace(" x ", "\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}"), width)
