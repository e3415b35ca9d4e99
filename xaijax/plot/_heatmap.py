"""The attributions of many rows at once, like rows beside each other."""

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from xaijax.core._errors import complaint
from xaijax.plot._features import (
    GREY,
    SIZE,
    TEXT,
    UNDER,
    as_attribution,
    as_names,
    as_number,
    check_rows,
    draw_value_bar,
    label_numbers,
    label_rows,
    left_of,
    make_axes,
    most_important,
    others,
    ticks,
    write_labels,
    write_near,
)
from xaijax.plot._panel import DIVERGING, SMALL, Scale, check_choice

_ROW = 0.29  # inches
_LINE = 2.2  # the height of the score's line over the picture, in rows
_BARS = 0.1  # how wide the bars beside it are, as a part of the picture
_MAP = matplotlib.colormaps[DIVERGING]
_ROWS = {"clusters": "rows, clustered", "output": "rows, by f(x)", "given": "rows"}
_REPEATS = 16
_MOST_CLUSTERED = 5000  # all pairs of rows are compared


def heatmap(
    attribution: Float[np.ndarray, "n d"],
    base_value: float,
    *,
    order: Literal["clusters", "output", "given"] = "clusters",
    names: Sequence[str] | None = None,
    max_features: int = 10,
    unit: str = "",
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the attributions of many rows as colours, with the rows side by side and their score as a line on top.

    Red raises the score, blue lowers it. Bars on the right are the mean sizes of the features' attributions.

    Args:
      attribution: one explanation in each row `(n, d)`, which sums to that row's score less the base value.
      base_value: the score without features; a dashed line.
      order: of the rows: `clusters` puts rows of similar attributions beside each other (Ward's method), `output` sorts
        by the score, `given` leaves them as they are.
      names: of the features.
      max_features: how many have a line of their own; the last one is the sum of the others.
      unit: of the attribution, written on the colour bar.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, there is no feature, a number is not finite, `order` is unknown, or
        there are too many rows to cluster or to see.
      TypeError: `names` is one string, or `max_features` no integer.

    Examples:
      >>> phi = np.array([[0.5, -2.0], [0.1, 3.0], [0.1, 1.0]])
      >>> ax = heatmap(phi, 10.0, names=["age", "fare"], order="output")
      >>> [label.get_text() for label in ax.get_yticklabels()]
      ['f(x)\n8.5 to 13.1', 'fare', 'age']
      >>> np.unique(ax.images[0].get_array()[0].data)  # of fare
      array([-2.,  1.,  3.])
    """
    where = "heatmap"
    phi = as_attribution(where, attribution, 2)
    base, names = as_number(where, "base_value", base_value), as_names(where, names, phi.shape[1])
    check_choice(where, "order", order, ("clusters", "output", "given"))
    check_rows(where, len(phi))
    if order == "clusters" and len(phi) > _MOST_CLUSTERED:
        rule = f"be 'output' or 'given' for more than {_MOST_CLUSTERED} rows"
        raise ValueError(complaint(where, "order", rule, f"'clusters' of {len(phi)} rows"))
    rows = _order(phi, order)
    phi, score = phi[rows], base + phi[rows].sum(1)
    shown, rest = most_important(where, np.abs(phi).mean(0), max_features)
    labels, lines = write_labels(names, None, shown), [phi[:, j] for j in shown]
    if rest.size:
        labels.append(others(len(rest)))
        lines.append(phi[:, rest].sum(1))

    n, spread = len(phi), float(np.ptp([*score, base]))
    texts = [write_near(end, spread) for end in (score.min(), score.max())]
    top_label = f"f(x)\n{' to '.join(dict.fromkeys(texts))}"
    left = left_of([*labels, top_label])
    ax = make_axes(ax, width, _ROW * (len(lines) + _LINE), left=left, bottom=UNDER)
    sizes = np.abs(lines)
    most, few = sizes.max(), np.percentile(sizes, 99)
    # One row far from all others would leave no colour for these.
    most = few if 0 < 2 * few < most else most
    scale = Scale(Normalize(-most, most) if most else Normalize(-1, 1), _MAP, 1.0)
    cut = sizes.max() > most
    label = "attribution" + (f" ({unit})" if unit else "") + (", clipped" if cut else "")
    draw_value_bar(ax, scale, label)
    places = {"aspect": "auto", "extent": (0, n, len(lines) - 0.5, -0.5)}
    # Each line several times: what is smoothed where rows are narrower than pixels stays within it.
    ax.imshow(np.repeat(lines, _REPEATS, axis=0), norm=scale.norm, cmap=scale.cmap, **places)
    heights = -0.7 - (_LINE - 0.4) * (np.append(score, base) - min(score.min(), base)) / (
        spread or 1
    )
    ax.plot(np.arange(n) + 0.5, heights[:-1], color=TEXT, linewidth=0.8, solid_joinstyle="round")
    ax.plot([0, n], [heights[-1]] * 2, color=GREY, linewidth=0.6, dashes=(3, 2))
    means = sizes.mean(1)
    longest = 0.9 * _BARS * n / (means.max() or 1)
    ax.barh(range(len(lines)), longest * means, 0.6, left=1.01 * n, color=SIZE)
    ax.text(1.01 * n, -0.6, "mean\nsize", fontsize=SMALL, color=TEXT, va="bottom")

    label_rows(ax, labels)
    middle = -0.5 - _LINE / 2
    ax.set_yticks([middle, *range(len(labels))], [top_label, *labels], parse_math=False)
    ax.set(xlim=(0, (1 + _BARS) * n), ylim=(len(lines) - 0.5, -0.5 - _LINE))
    label_numbers(ax, _ROWS[order])
    marks = ticks(0, n, whole=True)
    ax.set_xticks(list(marks), list(marks.values()))
    ax.spines["bottom"].set_visible(False)
    return ax


def _order(phi: Float[np.ndarray, "n d"], order: str) -> Int[np.ndarray, " n"]:
    if order == "given" or len(phi) < 2:
        return np.arange(len(phi))
    if order == "output":
        return np.argsort(phi.sum(1), kind="stable")
    from scipy.cluster import hierarchy

    return hierarchy.leaves_list(hierarchy.linkage(phi, "ward"))
