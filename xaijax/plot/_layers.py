"""One method at several layers of a network."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from xaijax.core._errors import check_positive, complaint
from xaijax.plot._panel import (
    as_image,
    as_map,
    check_choice,
    check_maps,
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


def layers(
    image: Float[np.ndarray, "h w c"],
    maps: Mapping[str, Float[np.ndarray, "a b"]],
    *,
    scores: Mapping[str, float] | None = None,
    scale: Literal["panel", "all"] = "panel",
    unit: str = "",
    cmap: str | None = None,
    alpha: float = 0.6,
    num_columns: int = 5,
    width: float = 5.5,
    figure: Any = None,
) -> Figure:
    """Draw the maps of one method at several layers, each with its resolution, in a figure for print.

    Args:
      image: pixels `(h, w, 3)` or `(h, w)`, uint8 or floats in [0, 1].
      maps: the name of each layer and the raw map there, in the order of the network.
      scores: for some or all layers, a number that is written over the map.
      scale: whether each `panel` has its own colour scale, or `all` share one.
      unit: of the attributions, written beside the colour bars.
      cmap: the name of a Matplotlib colour map (`"jet"`, say); by default sequential for scales without negative
        values, otherwise diverging around zero.
      alpha: the opacity of the maps.
      num_columns: pictures side by side, the image included.
      width: of a new figure, in inches.
      figure: an empty Matplotlib figure or subfigure to draw in, instead of a new figure.

    Returns:
      The figure. `save` writes it.

    Raises:
      ValueError: a shape or range does not fit, or a name is unknown.
      TypeError: `maps` is no mapping.

    Examples:
      >>> maps = {"conv1": np.eye(8), "conv2": np.eye(4), "conv3": np.eye(2)}
      >>> drawn = layers(np.zeros((16, 16, 3)), maps, scale="all")
      >>> [ax.get_title("left") for ax in drawn.axes[1:4]]
      ['8 × 8', '4 × 4', '2 × 2']
    """
    where = "layers"
    check_maps(where, maps, "layers to maps")
    check_choice(where, "scale", scale, ("panel", "all"))
    check_positive(where, num_columns=num_columns)
    for name in scores or {}:
        if name not in maps:
            raise ValueError(complaint(where, "scores", f"be of {', '.join(maps)}", repr(name)))
    pixels = as_image(where, image)
    values = {name: as_map(where, a, f"maps[{name!r}]") for name, a in maps.items()}
    num_columns = min(num_columns, len(values) + 1)
    rows = -(-(len(values) + 1) // num_columns)
    common = make_scale(where, values.values(), cmap, alpha)
    right = right_of([common], unit) if scale == "all" else 0.0
    width = figure_width(figure, width)
    side = picture_width(width, num_columns, 0.0, right)
    titles = ["", *("\n".join(wrap(name, side)) for name in values)]
    sheet = Sheet(
        figure,
        width,
        [pixels.shape[0] / pixels.shape[1]] * rows,
        num_columns,
        right=right,
        over=[
            # The longest title of the row, and the line of the resolutions.
            LINE * (2 + max(title.count("\n") for title in titles[first : first + num_columns]))
            for first in range(0, len(titles), num_columns)
        ],
        under=[UNDER + GAP if scale == "panel" else GAP] * rows,
        bottom=LINE if scale == "panel" and unit else 0.0,
    )
    photo, *rest = sheet.axes.ravel()
    show(photo, pixels)
    for number, (name, a) in enumerate(values.items(), 1):
        ax = rest[number - 1]
        each = common if scale == "all" else make_scale(where, [a], cmap, alpha)
        draw(ax, pixels, a, each)
        write_over(ax, titles[number], LINE)
        write_note(ax, f"{a.shape[0]} × {a.shape[1]}", "left")
        if scores and name in scores:
            write_note(ax, write_number(scores[name], "#.3g"), "right")
        if scale == "panel" and each is not None:
            sheet.bar_under(*divmod(number, num_columns), each)
    for ax in rest[len(values) :]:
        ax.remove()
    if common is not None:
        if scale == "all":
            sheet.bar_right(0, rows - 1, common)
        sheet.write_unit(unit, under=scale == "panel")
    return sheet.figure
