"""Which images are labelled, for which task, and which are of the one normal class."""

from collections.abc import Sequence

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.labels.official_splits import SPLITS

MOST_NAMED = 20  # labels in a message


def is_rated(table: pd.DataFrame) -> pd.Series:
    """Return which rows have `ratings` (votes per bin) or a `mean` score."""
    return table["ratings"].notna() | table["mean"].notna()


def is_labelled(table: pd.DataFrame, task: str) -> pd.Series:
    """Return which rows have what `task` learns from: a rating, or else a class in `label`."""
    return is_rated(table) if task == "rating" else table["label"].notna()


def is_normal(labels: pd.Series, normal_class: str | None) -> pd.Series:
    """Return which labels, null for none, are `train.normal_class`.

    Raises UserError where none is, naming those that there are, or where there are none.
    """
    normal = (labels == normal_class).fillna(False).astype(bool)
    if not labels.notna().any():
        raise UserError(
            "params.yaml: train.task is one_class, but no image has a label: set train.task to"
            " rating where images have ratings, or give the source labels"
        )
    if not normal.any():
        raise UserError(
            f"params.yaml: train.normal_class: expected one of the labels {name_labels(labels)};"
            f" got {normal_class!r}"
        )
    return normal


def name_labels(labels: pd.Series | pd.Index) -> str:
    """Return the distinct labels in order, for a message.

    >>> name_labels(pd.Series(["dog", None, "cat", "dog"]))
    "'cat', 'dog'"
    """
    known = sorted(labels.dropna().unique())
    named = ", ".join(repr(label) for label in known[:MOST_NAMED])
    more = len(known) - MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named or "of which there are none"


def select_labelled(
    split: pd.DataFrame,
    groups: pd.DataFrame,
    task: str,
    parts: Sequence[str] = SPLITS,
    stated: str = "params.yaml: train.task is",
) -> pd.DataFrame:
    """Return key, split, split group and labels of the images of `parts` labelled for the task.

    Raises UserError, which begins with `stated` and the task, where there is none, and some image,
    of whichever part, is labelled for another task.
    """
    columns = ["label", "ratings", "mean", "std"]
    rows = split[["key", "split", "split_group"]]
    rows = rows.merge(groups[["key", *columns]], on="key", validate="1:1")
    known = is_labelled(rows, task) & rows["split"].isin(parts)
    other = "classification" if task == "rating" else "rating"
    others = int(is_labelled(rows, other).sum())
    if not known.any() and others:
        kind = "class names" if task == "rating" else "ratings"
        raise UserError(
            f"{stated} {task}, but no image of {', '.join(parts)} has a label for it, while"
            f" {others} images have {kind}: set train.task to {other} in params.yaml and run"
            " `dvc repro`, or give other labels"
        )
    return rows[known].sort_values("key", ignore_index=True)
