"""Counts through the stages, taken from the tables themselves, and the proof that they add up."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from darkroom.labels.official_splits import SPLITS


class StageCount(NamedTuple):
    """One line of the flow: how many are left, and how many were removed before it, by reason."""

    stage: str
    name: str
    left: int
    unit: str
    removed: tuple[tuple[str, int], ...] = ()


class SplitCount(NamedTuple):
    """One split: its images, how many groups they come from, and the augmented ones added."""

    name: str
    images: int
    groups: int
    augmented: int


class Flow(NamedTuple):
    """The counts from files to splits; `discrepancies` is empty when every count adds up."""

    steps: tuple[StageCount, ...]
    splits: tuple[SplitCount, ...]
    discrepancies: tuple[str, ...]

    @property
    def files(self) -> int:
        """Return how many files the sources hold now."""
        return next(step.left for step in self.steps if step.name == "Files given")

    @property
    def kept(self) -> int:
        """Return how many images are left in the end."""
        return self.steps[-1].left

    @property
    def removed(self) -> dict[str, int]:
        """Return how many were removed in all, by reason."""
        return dict(pair for step in self.steps for pair in step.removed)

    @property
    def most(self) -> int:
        """Return the largest count, to which bars are drawn."""
        return max([step.left for step in self.steps], default=0)


def count_stages(
    index: pd.DataFrame,
    summary: pd.DataFrame,
    groups: pd.DataFrame,
    split: pd.DataFrame,
    augmented: pd.DataFrame,
) -> Flow:
    """Return the counts: records, those that arrived, unique, usable, kept, and the splits."""
    arrived = index[index["status"] == "kept"]
    unique = arrived["key"].nunique()
    checked = summary[summary["key"].isin(set(arrived["key"]))]
    usable, kept = checked[checked["status"] == "kept"], groups[groups["status"] == "kept"]
    repeats = len(arrived) - unique
    unsplit = len(kept) - len(split)
    present = index[index["status"] != "withdrawn"]
    absent = len(index) - len(present)
    purged = int((index["reason"] == "purged").sum())
    withdrawn = [("withdrawn", absent - purged), ("purged", purged)]
    removed = tuple((reason, n) for reason, n in withdrawn if n)
    steps: tuple[StageCount, ...] = (
        *([StageCount("scan", "Files ever given", len(index), "records")] if absent else []),
        StageCount("scan", "Files given", len(present), "records", removed),
        StageCount("download", "Arrived", len(arrived), "records", count_reasons(present)),
        StageCount("download", "Distinct by content", unique, "images",
             (("exact_duplicate", repeats),) if repeats else ()),
        StageCount("clean", "Whole and usable", len(usable), "images", count_reasons(checked)),
        StageCount("dedupe", "Kept", len(kept), "images", count_reasons(groups)),
    )  # fmt: skip
    if unsplit > 0:
        removed = (("in_no_split", unsplit),)
        steps += (StageCount("split", "In a split", len(split), "images", removed),)
    discrepancies = tuple(_find_discrepancies(steps, len(groups)))
    return Flow(steps, count_splits(split, augmented), discrepancies)


def count_reasons(table: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """Return how many rows are not kept, by reason (else by status), most frequent first."""
    removed = table[table["status"] != "kept"]
    counts = removed["reason"].fillna(removed["status"]).value_counts()
    return tuple(sorted(((str(k), int(v)) for k, v in counts.items()), key=lambda r: (-r[1], r[0])))


def count_splits(split: pd.DataFrame, augmented: pd.DataFrame) -> tuple[SplitCount, ...]:
    """Return images, groups and augmented images of each split, empty ones included."""
    parents = split.set_index("key")["split"]
    added: Mapping[str, int] = augmented["parent"].map(parents).value_counts().to_dict()
    counts = []
    for name in SPLITS:
        rows = split[split["split"] == name]
        groups = int(rows["split_group"].nunique())
        counts.append(SplitCount(name, len(rows), groups, int(added.get(name, 0))))
    return tuple(counts)


def _find_discrepancies(steps: tuple[StageCount, ...], grouped: int) -> list[str]:
    """Return a sentence for each place where the counts of two stages do not add up."""
    discrepancies = []
    for before, step in itertools.pairwise(steps):
        removed = sum(count for _, count in step.removed)
        if before.left - removed != step.left:
            discrepancies.append(
                f"{step.stage}: {before.left} − {removed} should leave {before.left - removed}, but"
                f" {step.left} are there"
            )
    usable = next(step.left for step in steps if step.stage == "clean")
    if grouped != usable:
        discrepancies.append(f"dedupe: clean kept {usable} images, but dedupe has {grouped}")
    return discrepancies
