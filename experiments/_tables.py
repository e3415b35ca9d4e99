"""Tables as papers want them: Markdown, CSV and LaTeX of one pandas table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments._store import write


def rows(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The rows of all units in one table, with the unit that each is of."""
    return pd.DataFrame([{"unit": r["unit"], **row} for r in records for row in r["rows"]])


def save(table: pd.DataFrame, path: Path) -> None:
    """Write a table as `.md`, `.csv` and `.tex` (booktabs)."""
    write(path.with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g"))
    write(path.with_suffix(".md"), markdown(table) + "\n")
    latex = table.to_latex(index=False, escape=True, float_format="%.3f", na_rep="--")
    write(path.with_suffix(".tex"), latex)


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; what has no value stays empty."""
    # Text that looks like a number keeps its digits.
    text = [i for i in range(table.shape[1]) if not pd.api.types.is_numeric_dtype(table.iloc[:, i])]
    # A bar, as of an absolute value, would end its cell.
    table = table.rename(columns=cell).map(cell)
    return table.to_markdown(index=False, floatfmt=".3f", missingval="", disable_numparse=text)


def cell(value: Any) -> Any:
    """A text as it may stand in a cell."""
    return value.replace("|", "\\|") if isinstance(value, str) else value


def interval(mean: float, low: float, high: float, digits: int = 3) -> str:
    """A mean with its interval, as text."""
    if low != low:
        return f"{mean:.{digits}f} (n=1)"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
