"""CSV for people and their spreadsheets: no cell starts a formula (OWASP, "CSV Injection")."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def escape(cell: str) -> str:
    """Return the cell behind an apostrophe where a spreadsheet would take it for a formula.

    >>> escape("=1+1"), unescape(escape("=1+1")), escape("'=1")
    ("'=1+1", '=1+1', "''=1")
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape(cell: str) -> str:
    """Return what `escape` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def rows_to_csv(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return CSV with escaped texts; None is an empty cell."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_escaped(cell) for cell in row] for row in rows)
    return stream.getvalue()


def to_csv(table: pd.DataFrame) -> str:
    """Return CSV with six decimals and escaped texts; null is an empty cell."""
    safe = table.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = [_escaped(cell) for cell in safe[column]]
    return str(safe.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


def _escaped(cell: object) -> object:
    return escape(cell) if isinstance(cell, str) else cell
