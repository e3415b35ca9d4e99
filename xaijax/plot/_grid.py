"""Several methods on several images: one row for each image, one column for each method."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from xaijax.core._errors import complaint
from xaijax.plot._panel import (
    TITLE,
    Scale,
    as_image,
    as_map,
    check_choice,
    check_maps,
    check_same_length,
    draw,
    make_scale,
    show,
    write_number,
)
from xaijax.plot._sheet import (
    GAP,
    LINE,
    UNDER,
    Sheet,
    figure_width,
    picture_width,
    right_of,
    wrap,
    write_note,
    write_over,
)


def grid(
    images: Sequence[Float[np.ndarray, "h w c"]],
    maps: Mapping[str, Sequence[Float[np.ndarray, "a b"]]],
    *,
    labels: Sequence[str] = (),
    scores: Mapping[str, Sequence[float]] | None = None,
    scale: Literal["panel", "row", "column", "all"] = "column",
    unit: str = "",
    cmap: str | None = None,
    alpha: float = 0.6,
    width: float = 5.5,
    figure: Any = None,
) -> Figure:
    """Draw the maps of several methods for several images, in a figure for print.

    The first column shows the images, each other column a method. Maps that share a colour scale can be compared by
    their colours; each scale has one colour bar.

    Args:
      images: pixels `(h, w, 3)` or `(h, w)`, uint8 or floats in [0, 1].
      maps: the name of each method, and its raw map for each image.
      labels: what is written beside each image: the class that is explained.
      scores: for some or all methods, a number for each image, written over its map.
      scale: which maps share a colour scale: those of a `row` (an image), of a `column` (a method), `all`, or none
        (each `panel` has its own).
      unit: of the attributions, written beside the colour bars.
      cmap: the name of a Matplotlib colour map (`"jet"`, say); by default sequential for scales without negative
        values, otherwise diverging around zero. Both defaults are safe for the colour blind.
      alpha: the opacity of the maps.
      width: of a new figure, in inches.
      figure: an empty Matplotlib figure or subfigure to draw in, instead of a new figure.

    Returns:
      The figure. `save` writes it.

    Raises:
      ValueError: a length, shape or range does not fit, or a name is unknown.
      TypeError: `maps` is no mapping.

    Examples:
      >>> image, a = np.zeros((8, 8, 3)), np.array([[0.0, 1.0]])
      >>> drawn = grid([image, image], {"Grad-CAM": [a, 2 * a], "LIME": [-a, a]}, labels=["cat", "dog"])
      >>> len(drawn.axes)  # 2 x 3 pictures and a colour bar for each method
      8
    """
    where, total = "grid", len(images)
    if total == 0:
        raise ValueError(complaint(where, "images", "have at least one image", "none"))
    check_maps(where, maps, "methods to maps")
    check_choice(where, "scale", scale, ("panel", "row", "column", "all"))
    for name, values in (*maps.items(), *(scores or {}).items()):
        check_same_length(where, f"maps or scores of {name!r}", values, total)
    if labels:
        check_same_length(where, "labels", labels, total)
    for name in scores or {}:
        if name not in maps:
            rule = f"be of the methods {', '.join(maps)}"
            raise ValueError(complaint(where, "scores", rule, repr(name)))
    pixels = [as_image(where, image) for image in images]
    methods = list(maps)
    values = [
        [as_map(where, maps[name][row], f"maps[{name!r}]") for name in methods]
        for row in range(total)
    ]
    scales = _share(values, scale, cmap, alpha)

    ratios = [image.shape[0] / image.shape[1] for image in pixels]
    columns, under = len(methods) + 1, scale in ("panel", "column")
    flat = [each for row in scales for each in row]
    right = 0.0 if under else right_of(flat, unit)
    width = figure_width(figure, width)
    side = picture_width(width, columns, LINE if labels else 0.0, right)
    names = [wrap(label, side * ratio) for label, ratio in zip(labels, ratios, strict=False)]
    left = LINE * max(map(len, names), default=0)
    headers = [wrap(name, picture_width(width, columns, left, right)) for name in methods]
    score = LINE if scores else 0.0
    below = {"panel": [UNDER] * total, "column": [0.0] * (total - 1) + [UNDER]}
    sheet = Sheet(
        figure,
        width,
        ratios,
        columns,
        left=left,
        right=right,
        over=[score + LINE * max(map(len, headers)), *[score or GAP] * (total - 1)],
        under=below.get(scale, [0.0] * total),
        bottom=LINE if under and unit else 0.0,
    )
    for row, image in enumerate(pixels):
        show(sheet.axes[row, 0], image)
        for column, name in enumerate(methods):
            ax = sheet.axes[row, column + 1]
            draw(ax, image, values[row][column], scales[row][column])
            if scores and name in scores:
                write_note(ax, write_number(scores[name][row], "#.3g"), "right")
    for row, lines in enumerate(names):
        sheet.axes[row, 0].set_ylabel("\n".join(lines), fontsize=TITLE, labelpad=2)
    for column, lines in enumerate(headers):
        write_over(sheet.axes[0, column + 1], "\n".join(lines), score)
    _draw_bars(sheet, scales, scale, unit)
    return sheet.figure


def _draw_bars(sheet: Sheet, scales: list[list[Scale | None]], shared: str, unit: str) -> None:
    """Draw one bar for each scale, beside the panels that share it."""
    last = len(scales) - 1
    for row, each in enumerate(scales):
        if shared == "row" and each[0]:
            sheet.bar_right(row, row, each[0])
        for column, panel in enumerate(each):
            if panel and (shared == "panel" or (shared == "column" and row == last)):
                sheet.bar_under(row, column + 1, panel)
    if shared == "all" and scales[0][0]:
        sheet.bar_right(0, last, scales[0][0])
    if any(map(any, scales)):
        sheet.write_unit(unit, under=shared in ("panel", "column"))


def _share(
    values: list[list[np.ndarray]], scale: str, cmap: str | None, alpha: float
) -> list[list[Scale | None]]:
    """The scale of each panel; those that share one have the same object."""
    rows, columns = range(len(values)), range(len(values[0]))
    group = {
        "panel": lambda i, j: (i, j),
        "row": lambda i, j: (i, 0),
        "column": lambda i, j: (0, j),
        "all": lambda i, j: (0, 0),
    }[scale]
    members: dict[tuple[int, int], list[np.ndarray]] = {}
    for i in rows:
        for j in columns:
            members.setdefault(group(i, j), []).append(values[i][j])
    made = {key: make_scale("grid", maps, cmap, alpha) for key, maps in members.items()}
    return [[made[group(i, j)] for j in columns] for i in rows]
