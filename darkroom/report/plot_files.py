"""The plots' data that train and evaluate wrote, as points, curves and intervals."""

import math
from pathlib import Path

import pandas as pd


def read_plot(path: Path) -> pd.DataFrame:
    """Return a plot's data; an empty frame where the stage had nothing to plot."""
    if not path.exists() or not path.stat().st_size:
        return pd.DataFrame()
    # a class may be called NA, None or 01
    return pd.read_csv(path, dtype={"class": str}, keep_default_na=False, na_values=[""])


def points(frame: pd.DataFrame, x: str, y: str) -> list[tuple[float, float]]:
    """Return two columns as points, without the rows that lack either; none if a column does."""
    if not {x, y} <= set(frame.columns):
        return []
    rows = frame[[x, y]].astype(float).itertuples(index=False)
    return [(a, b) for a, b in rows if math.isfinite(a) and math.isfinite(b)]


def intervals(
    frame: pd.DataFrame, x: str, low: str = "low", high: str = "high"
) -> list[tuple[float, float, float]]:
    """Return where an interval stands and its ends, without the rows that lack one."""
    if not {x, low, high} <= set(frame.columns):
        return []
    rows = frame[[x, low, high]].astype(float).itertuples(index=False)
    return [(a, b, c) for a, b, c in rows if all(map(math.isfinite, (a, b, c)))]


def curves(frame: pd.DataFrame, x: str, y: str) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each class of a plot, in the order of the file."""
    if "class" not in frame:
        return {"": points(frame, x, y)} if len(frame) else {}
    parts = frame.groupby(frame["class"].astype(str), sort=False)
    return {str(name): points(part, x, y) for name, part in parts}
