"""Several methods by several metrics: one line for each method."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from xaijax.core._errors import complaint
from xaijax.plot._features import (
    GREY,
    TEXT,
    as_names,
    make_axes,
    shorten,
    size,
    write_near,
)
from xaijax.plot._methods import as_methods, beside, check_one_length, label_ends, make_styles
from xaijax.plot._panel import SMALL, TITLE, check_choice, text_width
from xaijax.plot._sheet import EDGE, GAP, LINE, wrap

_HEIGHT = 0.4  # of a new axis, as a part of the figure's width
_NAME = 1.4  # the longest name of a metric, in inches
_SLANT = 40.0  # degrees, of names that have no room side by side
_ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def parallel(
    values: Mapping[str, Any],
    *,
    metrics: Sequence[str],
    better: Sequence[Literal["higher", "lower"] | None] | Literal["higher", "lower"],
    controls: Sequence[str] = (),
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw a line for each method over several metrics, each on an axis of its own: parallel coordinates.

    Up is better on every axis: that of a metric whose lower values are better (↓) is turned. An axis reaches from the
    worst to the best of the methods that are shown, and the numbers at its ends are theirs; so heights tell the order,
    and how far apart two methods are compared with the others, not how large a difference is.

    Args:
      values: the name of each method, and its number for each metric `(num_metrics,)`: means over examples, say. NaN
        leaves a gap.
      metrics: the name of each metric.
      better: which values of each metric are better, `"higher"`, `"lower"` or, where neither is, None: these axes have
        the highest value on top. One word is for all.
      controls: names of the methods that are there for comparison, such as a random map: grey and dashed.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure; names are laid out for its present size.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, a number is infinite, `better` has another word, or a control is no
        method.
      TypeError: `values` is no mapping, or `metrics` or `controls` is one string.

    Examples:
      >>> means = {"LIME": [0.25, 3.0], "Grad-CAM": [0.5, 2.0], "random": [0.75, 1.0]}
      >>> names, better = ["deletion", "insertion"], ["lower", "higher"]
      >>> ax = parallel(means, metrics=names, better=better, controls=["random"])
      >>> [line.get_ydata().tolist() for line in ax.lines[:3]]  # the best is at 1
      [[1.0, 1.0], [0.5, 0.5], [0.0, 0.0]]
    """
    where = "parallel"
    rows = as_methods(where, "values", values, "(num_metrics,)")
    num_metrics = check_one_length(where, "values", rows)
    styles = make_styles(where, rows, controls)
    names = _metric_names(where, metrics, num_metrics)
    turned = _directions(where, better, num_metrics)
    table = np.array(list(rows.values()))
    heights, ends = _scaled(table, [word == "lower" for word in turned])
    names = [shorten(name, _NAME) for name in names]
    arrows = [_ARROWS[word] for word in turned]

    right = beside(rows)
    widest = max(text_width(text, SMALL) for pair in ends for text in pair)
    if ax is None:
        # The first name is in the middle over the first axis.
        apart = (width - right - 2 * EDGE - widest / 2) / max(num_metrics - 0.5, 1)
    else:
        # The layout makes room for the names.
        apart = (size(ax)[0] - right) / max(num_metrics - 1, 1)
    upright = widest > apart - GAP and num_metrics > 1
    numbers = widest + 0.08 if upright else LINE
    headers, angle = _headers(names, arrows, apart)
    lengths = [max(text_width(line, TITLE) for line in h.split("\n")) for h in headers]
    if angle:
        first, over = LINE / 2, np.sin(np.radians(angle)) * max(lengths) + LINE
        right = max(right, np.cos(np.radians(angle)) * lengths[-1] + 0.05)
    else:
        first, over = lengths[0] / 2, LINE * max(h.count("\n") + 1 for h in headers)
        right = max(right, lengths[-1] / 2)
    ax = make_axes(
        ax,
        width,
        max(_HEIGHT * width, LINE * len(rows)),
        left=max(first, LINE / 2 if upright else widest / 2) + 0.02,
        right=right,
        top=over + numbers + 0.05,
        bottom=numbers + 0.04,
    )
    # A single axis is at the right, beside the names.
    ax.set(xlim=(min(num_metrics - 2, 0), num_metrics - 1), ylim=(-0.02, 1.02))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    for name, line in zip(rows, heights, strict=True):
        style = styles[name]
        order = 2.1 if style.dashes else 2.2
        ax.plot(range(num_metrics), line, **style.line, marker=style.marker, zorder=order)
    _draw_axes(ax, ends, upright)
    _write_headers(ax, headers, angle, numbers)
    last = {name: (num_metrics - 1, line[-1]) for name, line in zip(rows, heights, strict=True)}
    label_ends(ax, last, styles, marked=rows)
    return ax


def _metric_names(where: str, metrics: Sequence[str], num_metrics: int) -> list[str]:
    if isinstance(metrics, str):
        raise TypeError(complaint(where, "metrics", "be a sequence of names", repr(metrics)))
    if len(metrics) != num_metrics:
        rule = f"have one name for each of the {num_metrics} numbers of a method"
        raise ValueError(complaint(where, "metrics", rule, f"{len(metrics)} names"))
    return as_names(where, metrics, num_metrics)


def _directions(where: str, better: Any, num_metrics: int) -> list[str | None]:
    """Which values of each metric are better."""
    words = [better] * num_metrics if better is None or isinstance(better, str) else list(better)
    if len(words) != num_metrics:
        rule = f"have one entry for each of the {num_metrics} metrics"
        raise ValueError(complaint(where, "better", rule, f"{len(words)} entries"))
    for word in words:
        if word is not None:
            check_choice(where, "better", word, ("higher", "lower"))
    return words


def _scaled(
    table: Float[np.ndarray, "n m"], turned: Sequence[bool]
) -> tuple[Float[np.ndarray, "n m"], list[tuple[str, ...]]]:
    """Heights from 0, the worst, to 1; and of each metric what is written at the ends of its axis, or in its middle."""
    heights, ends = np.full(table.shape, np.nan), []
    for j, (column, down) in enumerate(zip(table.T, turned, strict=True)):
        known = column[np.isfinite(column)]
        if not known.size:
            ends.append(("NaN",))
            continue
        worst, best = (known.max(), known.min()) if down else (known.min(), known.max())
        spread = abs(best - worst)
        if spread == 0:
            heights[:, j] = np.where(np.isfinite(column), 0.5, np.nan)
            ends.append((write_near(best, 0.0),))
            continue
        heights[:, j] = (column - worst) / (best - worst) + 0.0  # without -0
        ends.append((write_near(worst, spread), write_near(best, spread)))
    return heights, ends


def _headers(names: Sequence[str], arrows: Sequence[str], apart: float) -> tuple[list[str], float]:
    """The names with their arrows, in lines side by side, or slanted if a word has no room; and the angle."""
    pairs, room = list(zip(names, arrows, strict=True)), apart - 2 * GAP
    if any(text_width(word + a, TITLE) > room for name, a in pairs for word in name.split()):
        # Steep enough that one line is not over the next.
        steep = np.degrees(np.arcsin(min(LINE / max(apart, LINE), 1.0)))
        return [name + a for name, a in pairs], max(_SLANT, float(steep))
    return ["\n".join(wrap(n, room - text_width(a, TITLE))) + a for n, a in pairs], 0.0


def _draw_axes(ax: Axes, ends: Sequence[tuple[str, ...]], upright: bool) -> None:
    """A vertical line for each metric, with the numbers at its ends."""
    place: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": SMALL}
    place |= {"color": TEXT, "annotation_clip": False, "rotation": 90 if upright else 0}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for j, texts in enumerate(ends):
        ax.plot([j, j], [0, 1], color=GREY, linewidth=0.6, zorder=1, clip_on=False)
        if len(texts) == 2:
            ax.annotate(texts[0], (j, 0), (0, -4), va="top", **place)
            ax.annotate(texts[1], (j, 1), (0, 4), va="bottom", **place)
        else:  # the methods are all the same, in the middle
            ax.annotate(texts[0], (j, 0.5), (0, 5), va="bottom", bbox=box, **place)


def _write_headers(ax: Axes, headers: Sequence[str], angle: float, above: float) -> None:
    """The names of the metrics, so far above their axes."""
    place: dict[str, Any] = {"textcoords": "offset points", "fontsize": TITLE, "color": TEXT}
    place |= {"annotation_clip": False, "parse_math": False, "va": "bottom"}
    place |= {"rotation": angle, "rotation_mode": "anchor", "ha": "left" if angle else "center"}
    for j, header in enumerate(headers):
        ax.annotate(header, (j, 1), (0, 72 * above + 4), **place)
