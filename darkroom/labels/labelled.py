"""Which images are labelled, and for which task."""

import pandas as pd


def is_rated(table: pd.DataFrame) -> pd.Series:
    """Return which rows have `ratings` (votes per bin) or a `mean` score."""
    return table["ratings"].notna() | table["mean"].notna()


def is_labelled(table: pd.DataFrame, task: str) -> pd.Series:
    """Return which rows have what `task` learns from: a rating, or else a class in `label`."""
    return is_rated(table) if task == "rating" else table["label"].notna()
