"""Tables as CSV, for people and their spreadsheets."""

import pandas as pd


def to_csv(rows: pd.DataFrame) -> str:
    """Return CSV with six decimals; null is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    safe = rows.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = [_disarm(cell) for cell in safe[column]]
    return str(safe.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


def _disarm(cell: object) -> object:
    starts = isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r"}
    return f"'{cell}" if starts else cell
