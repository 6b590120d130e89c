"""Labels of the data set, as the page shows them: how images are rated, or counts per class."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from darkroom.labels.official_splits import SPLITS
from darkroom.labels.votes import mean_of_votes
from darkroom.report.charts import linear_axis
from darkroom.report.histograms import bars, count, mean_scores_chart
from darkroom.report.params import ReportParams

MAX_CLASSES = 20  # the page lists the largest; a data set may have thousands
BINS = 18
MAX_PLOT_CLASSES = 50  # classes in the plot's file; the others are one row


class ClassCount(NamedTuple):
    """One class: its images in train, validation and test, and in all."""

    name: str
    counts: tuple[int, ...]
    total: int


class Labels(NamedTuple):
    """What is known of the images kept."""

    kept: int
    labelled: int
    conflicts: int
    histogram: Markup | None = None  # of mean scores
    deviations: Markup | None = None  # of each image's ratings
    votes: Markup | None = None  # per image
    votes_each: float | None = None  # where all images have as many
    ratings: Sequence[tuple[Any, ...]] = ()  # per split
    classes: tuple[ClassCount, ...] = ()
    hidden_classes: int = 0  # that are not listed
    other_classes: ClassCount | None = None  # all of these in one
    small_classes: int = 0  # of fewer than dedupe.min_class_images

    @property
    def most(self) -> int:
        """Return the size of the largest class, to which meters are drawn."""
        return max((row.total for row in self.classes), default=0)


def describe(groups: pd.DataFrame, kept: pd.DataFrame, params: ReportParams) -> Labels:
    """Return the labels of `kept_images`: classes where there are any, else mean scores."""
    conflicts = int(groups["label_conflict"].fillna(False).astype(bool).sum())
    if not shows_ratings(kept, params):
        every = count_classes(kept)
        shown, others = every[:MAX_CLASSES], every[MAX_CLASSES:]
        counts = tuple(sum(row.counts[split] for row in others) for split in range(len(SPLITS)))
        return Labels(
            len(kept), int(kept["label"].notna().sum()), conflicts,
            classes=shown, hidden_classes=len(others),
            other_classes=ClassCount("", counts, sum(row.total for row in others))
            if others else None,
            small_classes=sum(row.total < params.dedupe.min_class_images for row in every),
        )  # fmt: skip
    rated = kept[kept["score"].notna()]
    scores, votes = rated["score"], rated["votes"]
    equal_votes = bool(votes.notna().all()) and votes.nunique() == 1
    return Labels(
        len(kept), len(rated), conflicts,
        histogram=mean_scores_chart(scores, *score_range(rated, params), params.evaluate.cutoff),
        deviations=_histogram(rated["deviation"], "standard deviation of an image's ratings"),
        votes=None if equal_votes else _histogram(votes, "votes per image", whole=True),
        votes_each=float(votes.iloc[0]) if equal_votes else None,
        ratings=summarise_splits(rated),
    )  # fmt: skip


def kept_images(groups: pd.DataFrame, split: pd.DataFrame, params: ReportParams) -> pd.DataFrame:
    """Return the kept images with `split`, `score` (the mean), `deviation` and `votes`."""
    kept = groups[groups["status"] == "kept"].merge(split[["key", "split"]], on="key", how="left")
    ratings = kept[["mean", "std", "ratings"]].itertuples(index=False)
    rows = [describe_rating(mean, std, votes, params) for mean, std, votes in ratings]
    return kept.join(pd.DataFrame(rows, kept.index, ["score", "deviation", "votes"], dtype=float))


def describe_rating(
    mean: float, deviation: float, votes: object, params: ReportParams
) -> tuple[float, float, float]:
    """Return mean, deviation and number of an image's ratings: the given ones, else its votes'."""
    if not isinstance(votes, np.ndarray) or votes.sum() <= 0:
        return mean, deviation, float("nan")
    scores = np.linspace(params.train.scale.low, params.train.scale.high, len(votes))
    around = float(mean_of_votes(votes, scores))
    mean = around if np.isnan(mean) else mean
    if np.isnan(deviation):
        deviation = float(np.sqrt(np.average((scores - around) ** 2, weights=votes)))
    return mean, deviation, float(votes.sum())


def shows_ratings(kept: pd.DataFrame, params: ReportParams) -> bool:
    """Return whether the page shows mean scores rather than classes."""
    named, rated = kept["label"].notna().any(), kept["score"].notna().any()
    return bool(rated and (params.train.task == "rating" or not named))


def score_range(rated: pd.DataFrame, params: ReportParams) -> tuple[float, float]:
    """Return the ends of the scale, further out where a score lies outside."""
    scale, scores = params.train.scale, rated["score"]
    return float(min(scale.low, scores.min())), float(max(scale.high, scores.max()))


def _histogram(values: pd.Series, title: str, whole: bool = False) -> Markup | None:
    """Draw a histogram of values; none where nothing is known."""
    known = [float(value) for value in values.dropna()]
    if not known:
        return None
    axis = linear_axis(title, [0.0, *known], whole=whole)
    return bars(count(known, axis.low, axis.high, BINS), axis, f"Images by {title}")


def summarise_splits(rated: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return (split, images, mean, deviation, lowest, highest) for each split, and for all."""
    parts = [(name, rated.loc[rated["split"] == name, "score"]) for name in SPLITS]
    return [
        (name, len(part), part.mean(), part.std(ddof=0), part.min(), part.max())
        for name, part in [*parts, ("all", rated["score"])] if len(part)
    ]  # fmt: skip


def count_classes(kept: pd.DataFrame) -> tuple[ClassCount, ...]:
    """Return a row per class, largest first."""
    named = kept.dropna(subset="label")
    counts = named.groupby(["label", "split"]).size().unstack().reindex(columns=SPLITS)
    totals = named.groupby("label").size()
    counts = counts.reindex(totals.index).fillna(0).astype(int)
    rows = [
        ClassCount(str(name), tuple(map(int, by_split)), int(total))
        for name, by_split, total in zip(totals.index, counts.to_numpy(), totals, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.total, row.name)))


def plot_tables(kept: pd.DataFrame, params: ReportParams) -> dict[str, pd.DataFrame]:
    """Return the data of the plots `classes` and `ratings`; what there is none of has no row."""
    rated = kept[kept["score"].notna()]
    low, high = score_range(rated, params) if len(rated) else (0.0, 1.0)
    ratings = count(rated["score"], low, high, BINS).rows("mean_score")
    every = [(row.name, row.total) for row in count_classes(kept)]
    others = sum(total for _, total in every[MAX_PLOT_CLASSES:])
    listed = every[:MAX_PLOT_CLASSES]
    if others:
        listed.append((f"({len(every) - MAX_PLOT_CLASSES} others)", others))
    return {
        "classes": pd.DataFrame(listed, columns=["label", "images"]),
        "ratings": ratings if len(rated) else ratings.head(0),
    }
