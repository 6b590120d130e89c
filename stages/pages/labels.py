"""Labels of the data set, as the page shows them: a histogram of scores, or counts per class."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from stages.lib.params import Params
from stages.lib.splits import SPLITS
from stages.pages.charts import histogram

CLASSES = 20  # the page lists the largest; a data set may have thousands


class ClassRow(NamedTuple):
    """One class: its images in train, validation and test, and in all."""

    name: str
    counts: tuple[int, ...]
    total: int


class Labels(NamedTuple):
    """What is known of the images kept."""

    kept: int
    labelled: int
    conflicts: int
    histogram: Markup | None
    classes: tuple[ClassRow, ...]
    more: int  # classes that are not listed

    @property
    def most(self) -> int:
        """Return the size of the largest class, to which meters are drawn."""
        return max((row.total for row in self.classes), default=0)


def describe(groups: pd.DataFrame, split: pd.DataFrame, params: Params) -> Labels:
    """Return the labels of the kept images: classes where there are any, else mean scores."""
    kept = groups[groups["status"] == "kept"].merge(split[["key", "split"]], on="key", how="left")
    conflicts = int(groups["label_conflict"].fillna(False).astype(bool).sum())
    named, rated = kept["label"].dropna(), mean_scores(kept, params).dropna()
    if (params.train.task != "rating" and len(named)) or not len(rated):
        every = class_rows(kept)
        shown = every[:CLASSES]
        more = len(every) - len(shown)
        return Labels(len(kept), len(named), conflicts, None, shown, more)
    scale, cutoff = params.train.scale, params.evaluate.cutoff
    low, high = min(scale.low, rated.min()), max(scale.high, rated.max())
    drawing = histogram(list(rated), low, high, cutoff)
    return Labels(len(kept), len(rated), conflicts, drawing, (), 0)


def mean_scores(kept: pd.DataFrame, params: Params) -> pd.Series:
    """Return each image's mean score: the given one, else that of its votes; null without both."""
    scale, scores = params.train.scale, []
    for mean, votes in zip(kept["mean"].astype(float), kept["ratings"], strict=True):
        if np.isnan(mean) and isinstance(votes, np.ndarray) and votes.sum() > 0:
            mean = np.average(np.linspace(scale.low, scale.high, len(votes)), weights=votes)
        scores.append(float(mean))
    return pd.Series(scores, kept.index, dtype=float)


def class_rows(kept: pd.DataFrame) -> tuple[ClassRow, ...]:
    """Return a row per class, largest first."""
    rows = []
    for name, frame in kept.dropna(subset="label").groupby("label"):
        counts = tuple(int((frame["split"] == split).sum()) for split in SPLITS)
        rows.append(ClassRow(str(name), counts, len(frame)))
    return tuple(sorted(rows, key=lambda row: (-row.total, row.name)))
