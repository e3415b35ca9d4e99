"""Where the pictures of a figure stand, in inches: rows and columns of one width, without a gap too many."""

import re
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from xaijax.plot._panel import SMALL, TITLE, Scale, draw_bar, text_width

GAP = 0.06  # between pictures, and between a picture and its bar
_BAR = 0.06  # the thickness of a colour bar
LINE = 1.3 * TITLE / 72  # the height of a line of text
UNDER = GAP + _BAR + LINE  # what a bar under a picture takes
EDGE = 0.02  # around the figure


class Sheet:
    """Axes for pictures in rows and columns, and bars beside them.

    Args:
        figure: An empty figure or subfigure; or None for a new one of the right height.
        width: Of the figure.
        ratios: The height of each row, in widths of a picture.
        columns: Pictures side by side.
        left: Room left of them.
        right: Room right of them.
        over: Room over each row.
        under: Room under each row.
        bottom: Room under all of them.
    """

    def __init__(
        self,
        figure: Any,
        width: float,
        ratios: list[float],
        columns: int,
        *,
        left: float = 0.0,
        right: float = 0.0,
        over: list[float],
        under: list[float],
        bottom: float = 0.0,
    ) -> None:
        room = sum(over) + sum(under) + bottom + 2 * EDGE
        self.side = picture_width(width, columns, left, right)
        if figure is None:
            height = self.side * sum(ratios) + room
            figure = Figure((width, height))
        else:
            height = figure.bbox.height / figure.figure.dpi
            self.side = min(self.side, max((height - room) / sum(ratios), 0.1))
        self.figure = figure
        self._size = width, height
        self._left, self._right = EDGE + left, right
        self._tops, y = [], EDGE
        for ratio, above, below in zip(ratios, over, under, strict=True):
            self._tops.append(y + above)
            y += above + ratio * self.side + below
        self._ratios, self._bottom = ratios, y + bottom
        self.axes = np.array(
            [[self._picture(i, j) for j in range(columns)] for i in range(len(ratios))]
        )

    def _add(self, x: float, y: float, width: float, height: float) -> Any:
        """Add axes at a place given from the upper left corner."""
        w, h = self._size
        return self.figure.add_axes((x / w, 1 - (y + height) / h, width / w, height / h))

    def _x(self, column: int) -> float:
        return self._left + column * (self.side + GAP)

    def _picture(self, row: int, column: int) -> Any:
        height = self._ratios[row] * self.side
        return self._add(self._x(column), self._tops[row], self.side, height)

    def _foot(self, row: int) -> float:
        return self._tops[row] + self._ratios[row] * self.side

    def bar_under(self, row: int, column: int, scale: Scale) -> None:
        """Draw a bar under a picture."""
        x, y = self._x(column), self._foot(row) + GAP
        place = self._add(x, y, self.side, _BAR)
        fits = text_width("  ".join(scale.ticks().values()), SMALL) < self.side
        draw_bar(self.figure, scale, middle=fits, cax=place, orientation="horizontal")

    def bar_right(self, first: int, last: int, scale: Scale) -> None:
        """Draw a bar right of some rows."""
        x, y = self._x(self.axes.shape[1]), self._tops[first]
        height = self._foot(last) - y
        place = self._add(x, y, _BAR, height)
        draw_bar(self.figure, scale, middle=height > 4 * LINE, cax=place)

    def write_unit(self, text: str, *, under: bool) -> None:
        """Write the unit of all bars, once: under everything, or right of it."""
        w, h = self._size
        end = self._x(self.axes.shape[1]) - GAP
        if under:
            x, y, place = (self._x(0) + end) / 2, self._bottom, {"ha": "center", "va": "bottom"}
        else:
            x, y = end + self._right, (self._tops[0] + self._foot(-1)) / 2
            place = {"ha": "right", "va": "center", "rotation": 90}
        self.figure.text(x / w, 1 - y / h, text, fontsize=SMALL, **place)


def write_over(ax: Any, text: str, above: float) -> None:
    """Write a title so many inches above a picture."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    ax.annotate(text, (0, 1), (0, 72 * above + 2), fontsize=TITLE, va="bottom", **place)


def write_note(ax: Any, text: str, side: Literal["left", "right"]) -> None:
    """Write something small between a picture and its title."""
    ax.set_title(text, fontsize=SMALL, loc=side, pad=2, color="0.35")


def figure_width(figure: Any, width: float) -> float:
    """The width of the figure that is given, or else of the new one."""
    return width if figure is None else figure.bbox.width / figure.figure.dpi


def picture_width(width: float, columns: int, left: float, right: float) -> float:
    """The width of a picture in a figure."""
    return (width - 2 * EDGE - left - right - (columns - 1) * GAP) / columns


def right_of(scales: list[Scale | None], unit: str) -> float:
    """The room that bars right of the pictures take, with their labels."""
    labels = [text for scale in scales if scale for text in scale.ticks().values()]
    if not labels:
        return 0.0
    widest = max(text_width(text, SMALL) for text in labels)
    return GAP + _BAR + 0.06 + widest + (LINE if unit else 0.0)


def wrap(text: str, width: float) -> list[str]:
    """The lines of a title in a given width, broken at spaces and after slashes, and anywhere in longer words."""
    lines = [""]
    for word in re.findall(r"[^\s/]*(?:/|\s+|$)", text):
        fits = text_width(word.rstrip(), TITLE) <= width
        for piece in [word] if fits else word:
            if text_width((lines[-1] + piece).rstrip(), TITLE) > width and lines[-1]:
                lines.append("")
            lines[-1] += piece
    return [line.strip() for line in lines]
