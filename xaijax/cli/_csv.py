"""Reading a table of numbers, with an error that names the cell for everything that is none."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xaijax.core._errors import complaint

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


class Table(NamedTuple):
    """A table of text cells.

    Attributes:
      names: of the columns, all different.
      rows: the cells, as many in each row as there are names.
      lines: where in the file each row is, for messages.
    """

    names: list[str]
    rows: list[list[str]]
    lines: list[int]

    def numbers(self, names: list[str]) -> Float[np.ndarray, "n d"]:
        """The columns of these names as numbers.

        Raises:
          ValueError: a cell is empty, no number or not finite; the message names it.
        """
        columns = [self.names.index(name) for name in names]
        values = np.empty((len(self.rows), len(columns)))
        for i, row in enumerate(self.rows):
            for k, j in enumerate(columns):
                values[i, k] = self._number(i, j, row[j])
        return values

    def _number(self, i: int, j: int, cell: str) -> float:
        text = cell.strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        where = f"in row {i} (line {self.lines[i]}), column {self.names[j]!r}"
        if text.lower() in _MISSING:
            rule, fix = "have no missing cells", "Fill it in or leave the row out."
            raise ValueError(complaint("explain", "--table", rule, f"{cell!r} {where}", fix))
        fix = "Encode words as numbers, as the model saw them."
        raise ValueError(
            complaint("explain", "--table", "hold finite numbers", f"{cell!r} {where}", fix)
        )


def read_table(path: str) -> Table:
    """Read a CSV whose first line names the columns.

    Raises:
      FileNotFoundError: there is no such file.
      IsADirectoryError: it is a folder.
      ValueError: it is empty, no text in UTF-8, has no names, no rows or rows of different lengths.
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(
            complaint("explain", "--table", "exist", f"'{path}'", "Check the path.")
        )
    if not file.is_file():
        raise IsADirectoryError(complaint("explain", "--table", "be a CSV file", f"'{path}'"))
    try:
        # Spreadsheets write a mark at the begin, which is no part of the first name.
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            read = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        fix = "Save it as CSV in UTF-8."
        raise ValueError(
            complaint("explain", "--table", "be a CSV in UTF-8", f"'{path}': {error}", fix)
        ) from None
    if not read:
        raise ValueError(complaint("explain", "--table", "not be empty", f"'{path}'"))
    names = [name.strip() for name in read[0][1]]
    _check_names(path, names)
    for line, row in read[1:]:
        if len(row) != len(names):
            got = f"{len(row)} in line {line}"
            rule = f"have {len(names)} cells in each row, as many as names"
            raise ValueError(complaint("explain", "--table", rule, got))
    return Table(names, [row for _, row in read[1:]], [line for line, _ in read[1:]])


def _check_names(path: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "" in names:
        rule = "name each column, and each by another name"
        got = f"{', '.join(map(repr, twice))} twice" if twice else "a column without a name"
        raise ValueError(complaint("explain", "--table", rule, got))
    if all(_is_number(name) for name in names):
        rule, fix = "name its columns in the first line", "Put a line of names above."
        raise ValueError(complaint("explain", "--table", rule, f"numbers in '{path}'", fix))
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        rule = "separate its cells by commas"
        raise ValueError(complaint("explain", "--table", rule, repr(names[0])))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
