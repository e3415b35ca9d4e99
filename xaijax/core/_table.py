"""Aligned columns of text."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with its head underlined; a column whose head is empty gets no line.

    >>> print(table(("layer", ""), [("conv1", "<- here")]))
    layer
    -----
    conv1  <- here
    """
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    line = ["-" * n if title else "" for n, title in zip(widths, head, strict=True)]
    text = [
        "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()
        for row in [cells[0], line, *cells[1:]]
    ]
    return "\n".join(text)
