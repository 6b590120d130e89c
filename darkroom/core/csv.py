"""CSV for people and their spreadsheets: no cell starts a formula (OWASP, "CSV Injection")."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def escape(cell: Any) -> Any:
    """Return a text behind an apostrophe where a spreadsheet would take it for a formula.

    >>> escape("=1+1"), unescape(escape("=1+1")), escape("'=1")
    ("'=1+1", '=1+1', "''=1")
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def unescape(cell: str) -> str:
    """Return what `escape` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def rows_to_csv(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return CSV of cells as they are; None is an empty one."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def to_csv(table: pd.DataFrame) -> str:
    """Return CSV with six decimals and escaped texts; null is an empty cell."""
    safe = table.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = [escape(cell) for cell in safe[column]]
    return str(safe.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
