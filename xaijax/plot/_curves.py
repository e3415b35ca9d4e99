"""How a score of several methods changes: as features are removed, weights randomised, inputs disturbed."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from xaijax.core._errors import complaint
from xaijax.plot._features import (
    UNDER,
    as_numbers,
    label_axis,
    left_of,
    make_axes,
    one_line,
    shorten,
    size,
    ticks,
)
from xaijax.plot._methods import (
    as_methods,
    beside,
    check_one_length,
    label_ends,
    make_styles,
    write_parts,
)
from xaijax.plot._panel import SMALL, text_width
from xaijax.plot._sheet import EDGE, LINE, write_note

_HEIGHT = 0.45  # of a new axis, as a part of the figure's width
_BAND = 0.16  # opacity
_FEW = 12  # so few points have a marker each
_MARGIN = 0.02  # beside the points, as a part of the axis
_WORD = 1.3  # the longest name of a point, in inches


class _Curve(NamedTuple):
    """The mean over examples at each point, half the width of its interval, and the number of examples."""

    mean: Float[np.ndarray, " p"]
    half: Float[np.ndarray, " p"]
    number: Int[np.ndarray, " p"]


def curves(
    curves: Mapping[str, Any],
    *,
    x: Sequence[float] | Sequence[str] | None = None,
    controls: Sequence[str] = (),
    x_label: str = "",
    y_label: str = "score",
    y_limits: tuple[float, float] | None = None,
    unit: str = "examples",
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw a curve for each method: the mean over examples, in a band that is the 95 % t-interval of that mean.

    For the score as pixels are removed, the similarity of maps as layers are randomised, a metric as inputs are
    disturbed ever more. At each point, examples that are NaN there are left out; the note over the axis tells how many
    examples there are. One example has no band. Bands of two methods on the same examples may overlap where their
    paired differences leave no doubt: for a test see `xaijax.plot.critical_difference`.

    Args:
      curves: the name of each method, and its curves `(num_examples, num_points)`, or the one `(num_points,)`.
      x: where the points are: increasing numbers `(num_points,)`, or their names, such as those of layers. 0, 1, 2, ...
        by default.
      controls: names of the methods that are there for comparison, such as a random map: grey and dashed.
      x_label: what `x` is, under the axis.
      y_label: what the curves are, beside the axis.
      y_limits: the ends of the axis of the curves, which several figures may share; around the curves by default. The
        names are laid out for them: an axis whose limits are changed afterwards has its names in the wrong places.
      unit: what the rows of a curve are, in the plural: the unit of replication, which the note names.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure; names are laid out for its present size.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, a number is infinite, `x` or `y_limits` do not increase, or a
        control is no method.
      TypeError: `curves` is no mapping, or `controls` or `x` is one string.

    Examples:
      >>> scores = {"LIME": [[1.0, 0.5, 0.0], [1.0, 0.0, 0.0]], "random": [1.0, 0.75, 0.5]}
      >>> ax = curves(scores, x=[0, 0.5, 1], controls=["random"], x_label="share removed")
      >>> ax.lines[0].get_ydata()
      array([1.  , 0.25, 0.  ])
      >>> ax.get_title("left")
      'mean and its 95 % interval, n = 1 to 2 examples'
    """
    where = "curves"
    shapes = "(num_examples, num_points)", "(num_points,)"
    rows = as_methods(where, "curves", curves, *shapes)
    num_points = check_one_length(where, "curves", rows)
    styles = make_styles(where, rows, controls)
    at, words = _points(where, x, num_points)
    drawn = {name: _mean(np.atleast_2d(a)) for name, a in rows.items()}

    bottom, top = _limits(drawn) if y_limits is None else _ends(where, y_limits)
    left = LINE + left_of(ticks(bottom, top).values() or [""])
    right = beside(rows)
    # On an axis of the caller the layout makes room for the names.
    inches = (width - left - 2 * EDGE if ax is None else size(ax)[0]) - right
    note = write_parts(_note(drawn, unit), inches + right)
    height = max(_HEIGHT * width, LINE * len(rows))
    under = _under(words, inches) - (0.0 if x_label else LINE)
    over = LINE * len(note) + 0.02
    ax = make_axes(ax, width, height, left=left, right=right, top=over, bottom=under)
    margin = _MARGIN * (at[-1] - at[0]) or 0.5
    ax.set(xlim=(at[0] - margin, at[-1] + margin), ylim=(bottom, top))
    several = {style.marker for style in styles.values()}
    marked = set(rows) if num_points <= _FEW else set()
    marked |= {name for name in rows if styles[name].marker != "o"} if len(several) > 1 else set()
    for name, curve in drawn.items():
        style = styles[name]
        places = _markers(curve.mean, name in marked)
        # Controls are behind what they are compared with.
        order = 1.9 if style.dashes else 2
        ax.plot(at, curve.mean, **style.line, marker=style.marker, markevery=places, zorder=order)
        if (curve.number > 1).any():
            ends = curve.mean - curve.half, curve.mean + curve.half
            ax.fill_between(
                at, *ends, color=style.color, alpha=_BAND, linewidth=0, zorder=order - 1
            )
    write_note(ax, "\n".join(note), "left")
    label_axis(ax.yaxis, shorten(y_label, 0.95 * size(ax)[1]))
    label_axis(ax.xaxis, shorten(x_label, 0.9 * size(ax)[0]))
    if words:
        _name_points(ax, at, words)
    ax.spines[["top", "right"]].set_visible(False)
    label_ends(ax, {name: (at[-1], c.mean[-1]) for name, c in drawn.items()}, styles, marked=marked)
    return ax


def _points(where: str, x: Any, num_points: int) -> tuple[Float[np.ndarray, " p"], list[str]]:
    """Where the points are, and their names if they have any."""
    if x is None:
        return np.arange(num_points, dtype=np.float64), []
    if isinstance(x, str):
        raise TypeError(complaint(where, "x", "be numbers or names of points", repr(x)))
    if np.ndim(x) == 1 and len(x) and all(isinstance(word, str) for word in x):
        if len(x) != num_points:
            rule = f"have one name for each of the {num_points} points"
            raise ValueError(complaint(where, "x", rule, f"{len(x)} names"))
        return np.arange(num_points, dtype=np.float64), [one_line(word) for word in x]
    at = as_numbers(where, "x", x, (num_points,))
    if not (np.diff(at) > 0).all() or np.isnan(at).any():
        fix = "Sort the points, and their scores with them."
        raise ValueError(complaint(where, "x", "increase", at.tolist(), fix))
    return at, []


def _ends(where: str, y_limits: Any) -> tuple[float, float]:
    bottom, top = as_numbers(where, "y_limits", y_limits, (2,)).tolist()
    if not bottom < top:  # nor NaN
        raise ValueError(complaint(where, "y_limits", "increase", [bottom, top]))
    return bottom, top


def _mean(rows: Float[np.ndarray, "n p"]) -> _Curve:
    """The mean over the examples that have a number, and half its 95 % t-interval."""
    from scipy.special import stdtrit

    known = np.isfinite(rows)
    count = known.sum(0)
    mean = np.where(known, rows, 0.0).sum(0) / np.where(count, count, np.nan)
    squares = (np.where(known, rows - mean, 0.0) ** 2).sum(0)
    freedom = np.where(count > 1, count - 1.0, np.nan)
    half = stdtrit(freedom, 0.975) * np.sqrt(squares / freedom / count.clip(1))
    return _Curve(mean, half, count)


def _limits(drawn: Mapping[str, _Curve]) -> tuple[float, float]:
    """Of the axis: around all curves and bands."""
    reach = np.array([[c.mean, c.mean - c.half, c.mean + c.half] for c in drawn.values()])
    known = reach[np.isfinite(reach)]
    if not known.size:
        return 0.0, 1.0
    low, high = known.min(), known.max()
    margin = 0.04 * (high - low) or 0.5 * max(abs(low), 1.0)
    return low - margin, high + margin


def _markers(mean: Float[np.ndarray, " p"], marked: bool) -> list[int]:
    """Which points have a marker: those that no line leads to, and some of a line that needs markers."""
    known = np.isfinite(mean)
    alone = known & ~np.append(known[1:], False) & ~np.insert(known[:-1], 0, False)
    if marked:
        alone[:: 1 if len(mean) <= _FEW else len(mean) // (_FEW // 2)] = True
    return np.flatnonzero(alone & known).tolist()


def _note(drawn: Mapping[str, _Curve], unit: str) -> list[str]:
    """What is drawn, and of how many examples."""
    counts = np.stack([c.number for c in drawn.values()])
    high = counts.max()
    low = counts[counts > 0].min() if high else 0
    number = f"n = {low}" + (f" to {high}" if low < high else "")
    number += f" {unit.removesuffix('s') if high == 1 else unit}"
    parts = ["mean and its 95 % interval"] if high > 1 else []
    parts.append(number)
    missing = (counts < counts.max(1, keepdims=True)).any() or not low
    return [*parts, "those with NaN left out"] if missing else parts


def _upright(words: Sequence[str], inches: float) -> bool:
    """Whether the names of points have no room side by side."""
    widths = [text_width(word, SMALL) for word in words]
    spacing = (1 - 2 * _MARGIN) * inches / max(len(words) - 1, 1)
    needed = max(((a + b) / 2 for a, b in itertools.pairwise(widths)), default=0.0)
    return needed + 0.08 > spacing


def _under(words: Sequence[str], inches: float) -> float:
    """The room that the names of points, or numbers, and a label take under an axis."""
    if not words or not _upright(words, inches):
        return UNDER
    return max(text_width(shorten(word, _WORD), SMALL) for word in words) + 0.1 + LINE


def _name_points(ax: Axes, at: Float[np.ndarray, " p"], words: Sequence[str]) -> None:
    """Names instead of numbers under an axis, upright where they have no room side by side."""
    inches = size(ax)[0]
    upright, step = _upright(words, inches), 1
    if upright:
        step = int(np.ceil(LINE * len(words) / inches))
        words = [shorten(word, _WORD) for word in words]
    ax.set_xticks(at[::step], words[::step], rotation=90 if upright else 0, parse_math=False)
