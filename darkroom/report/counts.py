"""Counts through the stages, taken from the tables themselves, and the proof that they add up."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from darkroom.labels.official_splits import SPLITS


class Step(NamedTuple):
    """One line of the flow: how many are left, and how many left before it, by reason."""

    stage: str
    name: str
    left: int
    unit: str
    lost: tuple[tuple[str, int], ...] = ()


class Branch(NamedTuple):
    """One split: its images, how many groups they come from, and the augmented ones added."""

    name: str
    images: int
    groups: int
    augmented: int


class Flow(NamedTuple):
    """The whole way from files to splits; `unexplained` is empty when every count adds up."""

    steps: tuple[Step, ...]
    branches: tuple[Branch, ...]
    unexplained: tuple[str, ...]

    @property
    def files(self) -> int:
        """Return how many files the sources hold now."""
        return next(step.left for step in self.steps if step.name == "Files given")

    @property
    def most(self) -> int:
        """Return the largest count, to which bars are drawn."""
        return max([step.left for step in self.steps], default=0)


def trace(
    index: pd.DataFrame,
    summary: pd.DataFrame,
    groups: pd.DataFrame,
    split: pd.DataFrame,
    augmented: pd.DataFrame,
) -> Flow:
    """Return the counts: records, those that arrived, unique, usable, kept, and the splits."""
    arrived = index[index["status"] == "kept"]
    unique = arrived["key"].nunique()
    judged = summary[summary["key"].isin(set(arrived["key"]))]
    usable, kept = judged[judged["status"] == "kept"], groups[groups["status"] == "kept"]
    repeats = len(arrived) - unique
    unsplit = len(kept) - len(split)
    present = index[index["status"] != "withdrawn"]
    gone = len(index) - len(present)
    purged = int((index["reason"] == "purged").sum())
    lost = tuple((why, n) for why, n in [("withdrawn", gone - purged), ("purged", purged)] if n)
    steps: tuple[Step, ...] = (
        *([Step("scan", "Files ever given", len(index), "records")] if gone else []),
        Step("scan", "Files given", len(present), "records", lost),
        Step("download", "Arrived", len(arrived), "records", reasons(present)),
        Step("download", "Distinct by content", unique, "images",
             (("exact_duplicate", repeats),) if repeats else ()),
        Step("clean", "Whole and usable", len(usable), "images", reasons(judged)),
        Step("dedupe", "Kept", len(kept), "images", reasons(groups)),
    )  # fmt: skip
    if unsplit > 0:
        lost = (("in_no_split", unsplit),)
        steps += (Step("split", "In a split", len(split), "images", lost),)
    return Flow(steps, branches(split, augmented), tuple(_unexplained(steps, len(groups))))


def reasons(table: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """Return how many rows are not kept, by reason (else by status), most frequent first."""
    gone = table[table["status"] != "kept"]
    counts = gone["reason"].fillna(gone["status"]).value_counts()
    return tuple(sorted(((str(k), int(v)) for k, v in counts.items()), key=lambda r: (-r[1], r[0])))


def branches(split: pd.DataFrame, augmented: pd.DataFrame) -> tuple[Branch, ...]:
    """Return images, groups and augmented images of each split, empty ones included."""
    parents = split.set_index("key")["split"]
    added: Mapping[str, int] = augmented["parent"].map(parents).value_counts().to_dict()
    found = []
    for name in SPLITS:
        rows = split[split["split"] == name]
        groups = int(rows["split_group"].nunique())
        found.append(Branch(name, len(rows), groups, int(added.get(name, 0))))
    return tuple(found)


def _unexplained(steps: tuple[Step, ...], grouped: int) -> list[str]:
    """Return a sentence for each place where the counts of two stages do not add up."""
    found = []
    for before, step in itertools.pairwise(steps):
        lost = sum(count for _, count in step.lost)
        if before.left - lost != step.left:
            found.append(
                f"{step.stage}: {before.left} − {lost} should leave {before.left - lost}, but"
                f" {step.left} are there"
            )
    usable = next(step.left for step in steps if step.stage == "clean")
    if grouped != usable:
        found.append(f"dedupe: clean kept {usable} images, but dedupe judged {grouped}")
    return found
