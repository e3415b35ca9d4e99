"""Which methods differ over examples (Demšar, Journal of Machine Learning Research 7, 2006, sections 3.2.2 and 3.2.4).

Notation: k methods, N examples, R_j the mean rank of method j, CD the critical difference.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from xaijax.core._errors import complaint
from xaijax.plot._features import (
    GREY,
    TEXT,
    fit,
    make_axes,
    shorten,
    size,
    write_beside,
)
from xaijax.plot._methods import as_methods, check_one_length, make_styles, write_parts
from xaijax.plot._panel import SMALL, TITLE, check_choice, text_width, write_number
from xaijax.plot._sheet import EDGE, LINE

_BAR, _REACH = (
    0.08,
    0.03,
)  # inches: from one bar to the next, and of a bar beyond the ranks that it joins
_TICK, _SIDE = 0.05, 0.1
_OVER = 2 * LINE + 0.18  # over the axis of ranks: its numbers, and the critical difference
_BESIDE = 0.18  # from the axis of ranks to the names
_NAMES = 0.36  # the longest name, as a part of the width
_JOIN, _CONTROL = "#7c5fa3", "0.45"  # of bars; of the names of controls


class RankComparison(NamedTuple):
    """How methods rank over examples, and which do not differ.

    Attributes:
      names: of the methods, as they were given.
      mean_ranks: R_j, of each method the mean of its ranks; 1 would be the best on every example.
      num_examples: N, those that were ranked.
      num_left_out: those with a NaN.
      chi2: Friedman's statistic, corrected for ties.
      p_value: how probable one as large is among methods that do not differ.
      critical_difference: CD; two methods whose mean ranks are at least so far apart differ.
      groups: names of methods that do not differ from each other, the best first; largest sets of at least two. All
        methods, if Friedman's test finds no difference.
    """

    names: tuple[str, ...]
    mean_ranks: Float[np.ndarray, " k"]
    num_examples: int
    num_left_out: int
    chi2: float
    p_value: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]


def compare_ranks(
    scores: Mapping[str, Any],
    *,
    better: Literal["higher", "lower"] = "higher",
    alpha: float = 0.05,
) -> RankComparison:
    r"""Rank methods on each example, test whether any differ (Friedman), and tell which (Nemenyi).

    .. math::
        \chi^2_F = \frac{12 N}{k (k + 1)} \Big(\sum_j R_j^2 - \frac{k (k + 1)^2}{4}\Big), \qquad
        \mathrm{CD} = q_\alpha \sqrt{\frac{k (k + 1)}{6 N}}

    with q the quantile of the studentized range for k methods, divided by the square root of 2.

    Differs from the paper in that the statistic is divided by Friedman's correction for ties, without which scores that
    are often equal, such as hits and misses, hardly ever differ; there is none without ties. Like it, the p-value is
    that of a chi-square with k - 1 degrees of freedom, for more than about ten examples.

    Args:
      scores: the name of each method, and its score on each example `(num_examples,)`, the same examples in the same
        order for all. An example with a NaN in any of them is left out.
      better: whether rank 1 is the highest score or the lowest. Equal scores share the mean of their ranks.
      alpha: the probability to find a difference where there is none.

    Returns:
      The mean ranks, the tests and the groups.

    Raises:
      ValueError: a shape or a length does not fit, there are fewer than three methods or, without those with a NaN,
        fewer than two examples, a score is infinite, or `alpha` is not between 0 and 1.
      TypeError: `scores` is no mapping.

    Examples:
      >>> found = compare_ranks({"A": [3.0, 5.0, 2.0], "B": [2.0, 4.0, 1.0], "C": [1.0, 4.0, 0.0]})
      >>> found.mean_ranks
      array([1.        , 2.16666667, 2.83333333])
      >>> round(found.critical_difference, 3)  # 2.344 sqrt(3 * 4 / (6 * 3))
      1.914

    References:
      demsar2006statistical
    """
    return _compare("compare_ranks", scores, better, alpha)


def _compare(where: str, scores: Any, better: Any, alpha: float) -> RankComparison:
    check_choice(where, "better", better, ("higher", "lower"))
    if not 0 < alpha < 1:
        raise ValueError(complaint(where, "alpha", "be between 0 and 1", alpha))
    rows = as_methods(where, "scores", scores, "(num_examples,)")
    if len(rows) < 3:
        fix = "For two see scipy.stats.wilcoxon."
        raise ValueError(complaint(where, "scores", "have at least 3 methods", len(rows), fix))
    check_one_length(where, "scores", rows)
    table = np.array(list(rows.values()))
    known = table[:, ~np.isnan(table).any(0)]
    k, n = known.shape
    left_out = table.shape[1] - n
    if n < 2:
        got = f"{n}, with {left_out} left out for a NaN"
        raise ValueError(complaint(where, "scores", "have at least 2 examples", got))
    from scipy import stats

    means = stats.rankdata(known if better == "lower" else -known, axis=0).mean(1)
    # Equal on all examples: the statistic would be 0 / 0.
    same = (known == known[0]).all()
    chi2, p_value = (0.0, 1.0) if same else stats.friedmanchisquare(*known)
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    cd = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    names = tuple(rows)
    groups = _groups(names, means, cd if p_value < alpha else np.inf)
    return RankComparison(names, means, n, left_out, float(chi2), float(p_value), cd, groups)


def _groups(
    names: Sequence[str], means: Float[np.ndarray, " k"], cd: float
) -> tuple[tuple[str, ...], ...]:
    """The largest sets of methods, at least two, whose mean ranks are all within less than the critical difference."""
    order = np.argsort(means, kind="stable")
    ranks = means[order]
    stops = np.searchsorted(ranks, ranks + cd, side="left")
    groups = []
    for start, stop in enumerate(stops):
        if stop - start > 1 and (not start or stop > stops[start - 1]):
            groups.append(tuple(names[i] for i in order[start:stop]))
    return tuple(groups)


def critical_difference(
    scores: Mapping[str, Any],
    *,
    better: Literal["higher", "lower"] = "higher",
    alpha: float = 0.05,
    controls: Sequence[str] = (),
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean ranks of methods over examples, the best on the right, and join those that do not differ.

    The numbers beside the names are the mean ranks. A bar joins methods that Nemenyi's test does not tell apart; if
    Friedman's test finds no difference at all, one bar joins them all. How many examples were ranked and left out, the
    p-value of Friedman's test and the critical difference are written under the axis; `compare_ranks` gives them as
    numbers.

    Args:
      scores: the name of each method, and its score on each example `(num_examples,)`, the same examples in the same
        order for all. An example with a NaN in any of them is left out.
      better: whether rank 1 is the highest score or the lowest. Equal scores share the mean of their ranks.
      alpha: the probability to find a difference where there is none.
      controls: names of the methods that are there for comparison, such as a random map: grey and dashed.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure; names are laid out for its present size.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, there are fewer than three methods or, without those with a NaN,
        fewer than two examples, a score is infinite, `alpha` is not between 0 and 1, or a control is no method.
      TypeError: `scores` is no mapping, or `controls` is one string.

    Examples:
      >>> scores = {"A": [3.0, 5.0, 2.0], "B": [2.0, 4.0, 1.0], "random": [1.0, 4.0, 0.0]}
      >>> ax = critical_difference(scores, controls=["random"])
      >>> [text.get_text() for text in ax.texts if "  " in text.get_text()]  # the worst first
      ['random  2.83', 'B  2.17', 'A  1.00']

    References:
      demsar2006statistical
    """
    where = "critical_difference"
    found = _compare(where, scores, better, alpha)
    styles = make_styles(where, found.names, controls)
    k, cd, ranks = len(found.names), found.critical_difference, found.mean_ranks.tolist()
    inches = width - 2 * _SIDE if ax is None else size(ax)[0]
    order = np.argsort(-found.mean_ranks, kind="stable")  # the worst first
    left, right = order[: (k + 1) // 2], order[(k + 1) // 2 :][::-1]
    most = _NAMES * inches - text_width(_number(k), TITLE)
    labels = [
        f"{shorten(name, most)}{_number(rank)}"
        for name, rank in zip(found.names, ranks, strict=True)
    ]
    sides = [max(text_width(labels[i], TITLE) for i in side) + _BESIDE for side in (left, right)]
    # Ranks grow to the left.
    low, high = fit([(-k, sides[0], 0.0), (-1, 0.0, sides[1])], inches)
    inch = (high - low) / inches
    levels = _levels(found, _REACH * inch)
    note = write_parts(_note(found, alpha), inches)
    first = _BAR * (1 + max((level for *_, level in levels), default=-1)) + 0.8 * LINE
    under = first + LINE * len(left) + 0.06
    ax = make_axes(
        ax, width, _OVER + under + LINE * len(note), left=_SIDE - EDGE, right=_SIDE - EDGE
    )
    # Downwards from the axis of ranks, in inches.
    ax.set(xlim=(-low, -high), ylim=(under + LINE * len(note), -_OVER), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    _draw_ruler(ax, k, cd, inch)
    for side, apart, end in ((left, -1, k), (right, 1, 1)):
        for row, i in enumerate(side):
            y, style = first + row * LINE, styles[found.names[i]]
            line = style.line | {"color": GREY if style.dashes else TEXT, "linewidth": 0.7}
            stop = end - apart * 0.5 * _BESIDE * inch
            ax.plot([ranks[i], ranks[i], stop], [0, y, y], **line)
            text = {"fontsize": TITLE, "color": _CONTROL if style.dashes else TEXT}
            write_beside(ax, labels[i], (stop, y), apart, **text)
    for start, stop, level in levels:
        y = _BAR * (level + 1)
        ax.plot([start, stop], [y, y], color=_JOIN, linewidth=2.5, solid_capstyle="butt", zorder=3)
    middle = -(low + high) / 2
    place: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": SMALL, "color": TEXT}
    ax.text(middle, under, "\n".join(note), **place)
    return ax


def _number(rank: float) -> str:
    return f"  {rank:.2f}"


def _levels(found: RankComparison, reach: float) -> list[tuple[float, float, int]]:
    """The bars of groups: from which rank to which, and how far down so that none meets another."""
    ranks = dict(zip(found.names, found.mean_ranks, strict=True))
    bars: list[tuple[float, float, int]] = []
    for group in found.groups:
        start, stop = ranks[group[0]] - reach, ranks[group[-1]] + reach
        taken = {level for a, b, level in bars if start <= b and a <= stop}
        level = min(set(range(len(bars) + 1)) - taken)
        bars.append((start, stop, level))
    return bars


def _note(found: RankComparison, alpha: float) -> list[str]:
    """The numbers behind the diagram."""
    parts = [f"n = {found.num_examples} examples"]
    if found.num_left_out:
        parts.append(f"{found.num_left_out} with NaN left out")
    p = found.p_value
    parts.append("Friedman p < 0.001" if p < 0.001 else f"Friedman p = {write_number(p, '.2g')}")
    level = write_number(alpha, ".3g")
    return [*parts, f"Nemenyi {_write_cd(found.critical_difference)} at α = {level}"]


def _write_cd(cd: float) -> str:
    return f"CD = {write_number(cd, '#.3g')}"


def _draw_ruler(ax: Axes, k: int, cd: float, inch: float) -> None:
    """The axis of ranks, and the critical difference over it."""
    line: dict[str, Any] = {"color": TEXT, "linewidth": 0.8}
    text: dict[str, Any] = {"fontsize": SMALL, "color": TEXT, "va": "bottom"}
    ax.plot([1, k], [0, 0], **line)
    for rank in range(1, k + 1, int(np.ceil(0.16 * inch))):
        ax.plot([rank, rank], [0, -_TICK], **line)
        ax.text(rank, -_TICK - 0.02, str(rank), ha="center", **text)
    y = -_TICK - LINE - 0.08
    if cd <= k - 1:  # a longer one would leave the axis
        ends = [k, k, k, k - cd, k - cd, k - cd]
        ax.plot(ends, [y - 0.03, y + 0.03, y, y, y + 0.03, y - 0.03], **line)
    ax.text(k, y - 0.05, _write_cd(cd), ha="left", **text)
