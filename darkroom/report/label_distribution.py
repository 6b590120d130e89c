"""Labels of the data set, as the page shows them: how images are rated, or counts per class."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from darkroom.labels.official_splits import SPLITS
from darkroom.labels.votes import mean_of_votes
from darkroom.report.charts import axis, histogram
from darkroom.report.histograms import bars, count
from darkroom.report.params import ReportParams

CLASSES = 20  # the page lists the largest; a data set may have thousands
BINS = 18
LISTED = 50  # classes in the plot's file; the others are one row


class ClassRow(NamedTuple):
    """One class: its images in train, validation and test, and in all."""

    name: str
    counts: tuple[int, ...]
    total: int


class SplitRow(NamedTuple):
    """The mean scores of one split."""

    name: str
    images: int
    mean: float
    deviation: float
    low: float
    high: float


class Labels(NamedTuple):
    """What is known of the images kept."""

    kept: int
    labelled: int
    conflicts: int
    histogram: Markup | None
    spreads: Markup | None  # deviation of each image's ratings
    votes: Markup | None  # per image
    each: float | None  # votes, where all images have as many
    ratings: tuple[SplitRow, ...]
    classes: tuple[ClassRow, ...]
    more: int  # classes that are not listed
    rest: ClassRow | None  # all of these in one
    small: int  # classes of fewer than dedupe.min_class_images

    @property
    def most(self) -> int:
        """Return the size of the largest class, to which meters are drawn."""
        return max((row.total for row in self.classes), default=0)


def describe(groups: pd.DataFrame, kept: pd.DataFrame, params: ReportParams) -> Labels:
    """Return the labels of `kept_images`: classes where there are any, else mean scores."""
    conflicts = int(groups["label_conflict"].fillna(False).astype(bool).sum())
    if not is_rated(kept, params):
        every = class_rows(kept)
        shown, others = every[:CLASSES], every[CLASSES:]
        counts = tuple(sum(row.counts[place] for row in others) for place in range(len(SPLITS)))
        rest = ClassRow("", counts, sum(row.total for row in others)) if others else None
        small = sum(row.total < params.dedupe.min_class_images for row in every)
        labelled = int(kept["label"].notna().sum())
        return Labels(len(kept), labelled, conflicts, None, None, None, None, (), shown,
                      len(others), rest, small)  # fmt: skip
    rated = kept[kept["score"].notna()]
    drawing = histogram(list(rated["score"]), *span(rated, params), params.evaluate.cutoff)
    each = float(rated["votes"].iloc[0]) if rated["votes"].nunique(dropna=False) == 1 else None
    alike = each is not None and not np.isnan(each)
    return Labels(
        len(kept), len(rated), conflicts, drawing,
        small_chart(rated["spread"], "standard deviation of an image's ratings"),
        None if alike else small_chart(rated["votes"], "votes per image", whole=True),
        each if alike else None, split_rows(rated), (), 0, None, 0,
    )  # fmt: skip


def kept_images(groups: pd.DataFrame, split: pd.DataFrame, params: ReportParams) -> pd.DataFrame:
    """Return the kept images with `split`, `score` (the mean), `spread` and `votes`."""
    kept = groups[groups["status"] == "kept"].merge(split[["key", "split"]], on="key", how="left")
    rows = [summed(row, params) for row in kept[["mean", "std", "ratings"]].itertuples(index=False)]
    return kept.join(pd.DataFrame(rows, kept.index, ["score", "spread", "votes"], dtype=float))


def summed(row: tuple[float, float, object], params: ReportParams) -> tuple[float, float, float]:
    """Return mean, deviation and number of an image's ratings: the given ones, else its votes'."""
    mean, spread, votes = row
    if not isinstance(votes, np.ndarray) or votes.sum() <= 0:
        return mean, spread, float("nan")
    scores = np.linspace(params.train.scale.low, params.train.scale.high, len(votes))
    around = float(mean_of_votes(votes, scores))
    mean = around if np.isnan(mean) else mean
    if np.isnan(spread):
        spread = float(np.sqrt(np.average((scores - around) ** 2, weights=votes)))
    return mean, spread, float(votes.sum())


def is_rated(kept: pd.DataFrame, params: ReportParams) -> bool:
    """Return whether the page shows mean scores rather than classes."""
    named, rated = kept["label"].notna().any(), kept["score"].notna().any()
    return bool(rated and (params.train.task == "rating" or not named))


def span(rated: pd.DataFrame, params: ReportParams) -> tuple[float, float]:
    """Return the ends of the scale, further out where a score lies outside."""
    scale, scores = params.train.scale, rated["score"]
    return float(min(scale.low, scores.min())), float(max(scale.high, scores.max()))


def small_chart(values: pd.Series, title: str, whole: bool = False) -> Markup | None:
    """Draw a histogram of values; none where nothing is known."""
    known = [float(value) for value in values.dropna()]
    if not known:
        return None
    across = axis(title, [0.0, *known], whole=whole)
    return bars(count(known, across.low, across.high, BINS), across, f"Images by {title}")


def split_rows(rated: pd.DataFrame) -> tuple[SplitRow, ...]:
    """Return a row per split that has scores, and one of all."""
    parts = [(name, rated.loc[rated["split"] == name, "score"]) for name in SPLITS]
    return tuple(
        SplitRow(name, len(part), float(part.mean()), float(part.std(ddof=0)), float(part.min()),
                 float(part.max()))
        for name, part in [*parts, ("all", rated["score"])] if len(part)
    )  # fmt: skip


def class_rows(kept: pd.DataFrame) -> tuple[ClassRow, ...]:
    """Return a row per class, largest first."""
    named = kept.dropna(subset="label")
    counts = named.groupby(["label", "split"]).size().unstack().reindex(columns=SPLITS)
    totals = named.groupby("label").size()
    counts = counts.reindex(totals.index).fillna(0).astype(int)
    rows = [
        ClassRow(str(name), tuple(map(int, found)), int(total))
        for name, found, total in zip(totals.index, counts.to_numpy(), totals, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.total, row.name)))


def plots(kept: pd.DataFrame, params: ReportParams) -> dict[str, pd.DataFrame]:
    """Return the data of the plots `classes` and `ratings`; what there is none of has no row."""
    rated = kept[kept["score"].notna()]
    low, high = span(rated, params) if len(rated) else (0.0, 1.0)
    ratings = count(rated["score"], low, high, BINS).rows("mean_score")
    every = [(row.name, row.total) for row in class_rows(kept)]
    others = sum(total for _, total in every[LISTED:])
    listed = every[:LISTED] + ([(f"({len(every) - LISTED} others)", others)] if others else [])
    return {
        "classes": pd.DataFrame(listed, columns=["label", "images"]),
        "ratings": ratings if len(rated) else ratings.head(0),
    }
