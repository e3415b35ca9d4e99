"""How the attribution of one feature depends on its value, and on the values of another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from xaijax.core._errors import complaint
from xaijax.plot._features import (
    NEGATIVE,
    RULE,
    UNDER,
    VALUES,
    as_attribution,
    as_names,
    as_numbers,
    check_rows,
    colour_values,
    draw_value_bar,
    find_feature,
    label_axis,
    left_of,
    make_axes,
    make_norm,
    shorten,
    size,
    ticks,
)
from xaijax.plot._panel import Scale
from xaijax.plot._sheet import LINE
from xaijax.plot._swarm import crowd, lanes

_MARGIN = 0.06  # around the points, as a part of the axis
_HISTOGRAM = 0.14  # of the axis' height
_KINDS = 12  # so few different values make a swarm each


def scatter(
    attribution: Float[np.ndarray, "n d"],
    x: Float[np.ndarray, "n d"],
    feature: int | str,
    *,
    color: int | str | Float[np.ndarray, " n"] | None = "interaction",
    color_label: str = "",
    names: Sequence[str] | None = None,
    unit: str = "",
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw one feature's attribution against its value, one point for each row: its dependence.

    Where points of one value differ in height, other features play a part; the colour shows which. The bars below are
    a histogram of the feature's values. Of a feature with few different values the points stand beside them.

    Args:
      attribution: one explanation in each row `(n, d)`.
      x: the features' values in these rows `(n, d)`, numbers.
      feature: its number or its name.
      color: a feature, by its number or its name, whose values colour the points; numbers for the rows `(n,)`, such as
        the interaction values of two features; None for one colour; or `"interaction"`, the feature that explains most
        of the heights of points with nearly the same value.
      color_label: what the numbers are, if `color` is numbers.
      names: of the features.
      unit: of the attribution, written beside the axis.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, there is no feature, a number is not finite, there is no such
        feature, or there are too many rows to see.
      TypeError: `names` is one string, or `feature` neither a name nor a number.

    Examples:
      >>> x = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
      >>> ax = scatter(x * x[:, ::-1], x, "age", names=["age", "fare"])
      >>> ax.collections[0].get_offsets().tolist()
      [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]
      >>> [axis.get_ylabel() for axis in ax.figure.axes]
      ['attribution of age', 'fare']
    """
    where = "scatter"
    phi = as_attribution(where, attribution, 2)
    check_rows(where, len(phi))
    values = as_numbers(where, "x", x, phi.shape)
    names = as_names(where, names, phi.shape[1])
    i = find_feature(where, "feature", feature, names)
    missing = np.count_nonzero(np.isnan(values[:, i]))
    if missing:
        got = f"{missing} missing values of {names[i]!r}"
        rule, fix = "have a value of the feature in each row", "Leave these rows out."
        raise ValueError(complaint(where, "x", rule, got, fix))
    seen, label = _colours(where, color, phi, values, i, names)

    across, up = values[:, i], phi[:, i]
    bottom, top = _limits(up)
    bottom -= _HISTOGRAM * (top - bottom)  # under all points
    left = LINE + left_of(ticks(bottom, top).values())
    ax = make_axes(ax, width, 0.55 * width, left=left, top=0.05, bottom=UNDER)
    norm = None if seen is None else _norm(seen, signed=label is None)
    if norm is not None:
        draw_value_bar(ax, Scale(norm, VALUES, 1.0), label or color_label)
    kinds = np.unique(across)
    few = 1 < len(kinds) <= _KINDS
    # A swarm of points reaches to both sides of its value.
    gap = float(np.diff(kinds).min()) if few else 0.0
    low, high = _limits(across)
    low, high = min(low, kinds[0] - gap / 2), max(high, kinds[-1] + gap / 2)
    ax.set(xlim=(low, high), ylim=(bottom, top))
    middles, counts, wide = _histogram(across)
    place = {"transform": ax.get_xaxis_transform(), "zorder": 0}
    ax.bar(middles, _HISTOGRAM * counts / counts.max(), wide, color=RULE, **place)
    ax.axhline(0, color=RULE, linewidth=0.75, zorder=0)
    colours = NEGATIVE if seen is None else colour_values(seen, norm)
    diameter = float(np.clip(75 / len(phi) ** 0.5, 2, 4)) / 72
    if few:
        across = _sideways(ax, across, up, kinds, gap, diameter)
    ax.scatter(
        across, up, s=(72 * diameter) ** 2, c=colours, linewidths=0, rasterized=len(phi) > 5000
    )
    label_axis(ax.xaxis, shorten(names[i], 0.9 * size(ax)[0]))
    what = f"attribution of {names[i]}" + (f" ({unit})" if unit else "")
    label_axis(ax.yaxis, shorten(what, 0.95 * size(ax)[1]))
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _colours(
    where: str,
    color: Any,
    phi: Float[np.ndarray, "n d"],
    values: Float[np.ndarray, "n d"],
    i: int,
    names: list[str],
) -> tuple[Float[np.ndarray, " n"] | None, str | None]:
    """What colours the points, if anything does, and the name of the feature if it is one."""
    if color is None:
        return None, None
    if not isinstance(color, str | int | np.integer):
        return as_numbers(where, "color", color, (len(phi),)), None
    if isinstance(color, str) and color == "interaction":
        j = interacting(phi[:, i], values, i)
    else:
        j = find_feature(where, "color", color, names)
    return (None, None) if j is None else (values[:, j], names[j])


def interacting(
    phi: Float[np.ndarray, " n"], values: Float[np.ndarray, "n d"], i: int
) -> int | None:
    """The feature that explains most of what feature i does not: of heights at nearly the same value of i.

    In bins of the values of i, what is left of the heights and of the other features after a line in i each; their
    squared correlations, weighted by how much is left of the heights.
    """
    missing = np.isnan(values)
    mean = np.nansum(values, axis=0) / np.maximum((~missing).sum(0), 1)
    known = _scaled(np.where(missing, mean, values))
    phi = _scaled(phi)
    explained = np.zeros(values.shape[1])
    order, bins = np.argsort(values[:, i], kind="stable"), min(50, max(1, len(phi) // 20))
    for rows in np.array_split(order, bins):
        both = np.column_stack([phi[rows], known[rows]])
        line = np.column_stack([np.ones(len(rows)), known[rows, i]])
        left = both - line @ np.linalg.lstsq(line, both, rcond=None)[0]
        # A column that is constant, or follows i, leaves rounding errors.
        size = (left**2).sum(0)
        real = size[1:] > 1e-12 * (both[:, 1:] ** 2).sum(0)
        product = (left[:, :1] * left[:, 1:]).sum(0) ** 2
        explained += np.where(real, product / np.where(real, size[1:], 1.0), 0.0)
    j = int(explained.argmax())
    return j if explained[j] > 1e-8 * (phi**2).sum() else None


def _histogram(values: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray, float]:
    """The middles, the counts and the width of bars; a bar for each value, if there are few values."""
    kinds, counts = np.unique(values, return_counts=True)
    if len(kinds) <= _KINDS:
        return kinds, counts, float(np.diff(kinds).min()) / 2 if len(kinds) > 1 else 0.1
    counts, edges = np.histogram(values, min(50, max(10, int(len(values) ** 0.5))))
    return (edges[1:] + edges[:-1]) / 2, counts, float(edges[1] - edges[0])


def _sideways(
    ax: Axes,
    across: Float[np.ndarray, " n"],
    up: Float[np.ndarray, " n"],
    kinds: np.ndarray,
    gap: float,
    diameter: float,
) -> Float[np.ndarray, " n"]:
    """Where points of few different values stand: beside their value, so that none covers another."""
    width, height = size(ax)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    moved = across.copy()
    for kind in kinds:
        rows = np.flatnonzero(across == kind)
        places = (up[rows] - bottom) / (top - bottom) * height
        room = 0.8 * gap / (right - left) * width / crowd(places, diameter)
        apart = min(diameter, room) / width * (right - left)
        moved[rows] += apart * lanes(places, diameter)
    return moved


def _scaled(values: Float[np.ndarray, "n *d"]) -> Float[np.ndarray, "n *d"]:
    """With columns of a size whose squares are neither infinite nor zero."""
    size = np.abs(values).max(0)
    return values / np.where(size, size, 1.0)


def _norm(seen: Float[np.ndarray, " n"], signed: bool) -> Normalize | None:
    """From low to high; of numbers of both signs even around zero."""
    norm = make_norm(seen)
    if norm is None or norm.vmin is None or norm.vmax is None or not signed:
        return norm
    top = max(-norm.vmin, norm.vmax)
    return Normalize(-top, top) if norm.vmin < 0 < norm.vmax else norm


def _limits(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    low, high = values.min(), values.max()
    margin = _MARGIN * (high - low) or 0.5 * max(abs(low), 1.0)
    return low - margin, high + margin
