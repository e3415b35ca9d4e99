"""Which features matter: bars of one explanation, or of many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from xaijax.core._errors import complaint
from xaijax.plot._features import (
    FAINT,
    RULE,
    SIZE,
    UNDER,
    as_attribution,
    as_names,
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
    write_labels,
)
from xaijax.plot._panel import SMALL, text_width

_ROW = 0.29  # inches


def bar(
    attribution: Float[np.ndarray, " d"] | Float[np.ndarray, "n d"],
    x: Any = None,
    *,
    names: Sequence[str] | None = None,
    max_features: int = 10,
    unit: str = "",
    width: float = 5.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw a bar for each feature, the most important on top.

    Of one explanation the bars are signed: red speaks for the target, blue against it. Of several the bars are the mean
    sizes of the attributions, without their signs.

    Args:
      attribution: one explanation `(d,)`, or one in each row `(n, d)`.
      x: the features' values in the one explanation `(d,)`, numbers or words, written beside their names.
      names: of the features.
      max_features: how many have a bar of their own; the last bar is the sum of the others'.
      unit: of the attribution, written under the axis.
      width: of a new figure, in inches.
      ax: a Matplotlib axis to draw on, instead of a new figure.

    Returns:
      The axis.

    Raises:
      ValueError: a shape or a length does not fit, there is no feature, or the attribution is not finite.
      TypeError: `names` is one string, or `max_features` no integer.

    Examples:
      >>> ax = bar(np.array([0.5, -2.0, 1.0]), names=["age", "sex", "fare"], x=[34, "male", 7.25])
      >>> [label.get_text() for label in ax.get_yticklabels()]
      ['sex = male', 'fare = 7.25', 'age = 34']
      >>> [float(patch.get_width()) for patch in ax.patches]
      [-2.0, 1.0, 0.5]
    """
    where = "bar"
    phi = as_attribution(where, attribution, 1, 2)
    several = phi.ndim == 2
    if several and x is not None:
        rule, got = "be None for several rows", f"shape {np.shape(x)}"
        raise ValueError(complaint(where, "x", rule, got, "See xaijax.plot.beeswarm."))
    x = as_values(where, x, phi.shape)
    names = as_names(where, names, phi.shape[-1])
    height = np.abs(phi).mean(0) if several else phi
    shown, rest = most_important(where, np.abs(height), max_features)
    labels = write_labels(names, x, shown)
    lengths = height[shown]
    if rest.size:
        labels.append(others(len(rest)))
        lengths = np.append(lengths, height[rest].sum())

    ax = make_axes(ax, width, _ROW * len(labels), left=left_of(labels), bottom=UNDER)
    texts = [write_amount(length, "" if several else "+") for length in lengths]
    colours = [SIZE if several else sign_colour(length) for length in lengths]
    bars = ax.barh(range(len(labels)), lengths, height=0.68, color=colours)
    if rest.size:
        bars[-1].set_alpha(FAINT)
    ends = [(0.0, 0.0, 0.0)]
    for row, (length, text) in enumerate(zip(lengths, texts, strict=True)):
        side = -1 if length < 0 else 1
        write_beside(ax, text, (length, row), side)
        room = text_width(text, SMALL) + 0.08
        ends.append((length, room if side < 0 else 0.0, room if side > 0 else 0.0))
    ax.set_xlim(*fit(ends, size(ax)[0]))
    ax.axvline(0, color=RULE, linewidth=0.75, zorder=0)
    label_rows(ax, labels)
    label_numbers(ax, "mean |attribution|" if several else "attribution", unit)
    return ax
