"""Which stored images a model learns from, and with which label.

Only labelled ones: originals of the train split with their augmented images, which have their
parents' labels, and originals of the validation split.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.lib import shards, tables
from stages.lib.failures import UserError
from stages.lib.pixels import Pixels, decode
from stages.transforms.prepare import Step, prepare

RAW = Path("data/raw")
AUGMENTED = Path("data/augmented")
GROUPS = Path("data/dedupe/groups.parquet")
SPLIT = Path("data/split.parquet")


class StoredImages(Sequence[Pixels]):
    """Images that are read from their shards, decoded whole and prepared, when asked for."""

    def __init__(self, root: Path, rows: pd.DataFrame, steps: Sequence[Step] = ()) -> None:
        """Take the rows: `folder` below root, `shard`, `offset`, `size`; and the filters."""
        self._root, self._steps = root, steps
        self._places = list(rows[["folder", "shard", "offset", "size"]].itertuples(index=False))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._places)

    def __getitem__(self, position: Any) -> Any:
        """Read, decode and prepare one image."""
        folder, shard, offset, size = self._places[position]
        place = shards.Place(shard, int(offset), int(size))
        return prepare(decode(shards.read_member(self._root / folder, place)), self._steps)


def select_labelled(split: pd.DataFrame, groups: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return `key`, `split` and the label columns of the images that have a label for this task."""
    columns = ["label", "ratings", "mean", "std"]
    rows = split[["key", "split"]].merge(groups[["key", *columns]], on="key", validate="1:1")
    rated = rows["ratings"].notna() | rows["mean"].notna()
    known = rated if task == "rating" else rows["label"].notna()
    other = int((rows["label"].notna() if task == "rating" else rated).sum())
    if not known.any() and other:
        wanted = "classification" if task == "rating" else "rating"
        raise UserError(
            f"params.yaml: train.task is {task}, but no image has a label for it, while {other}"
            f" have one for {wanted}: set train.task to {wanted}, or give other labels"
        )
    return rows[known].sort_values("key", ignore_index=True)


def find_classes(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the class names of the train split in order. Raises UserError for one alone."""
    classes = tuple(sorted(rows["label"][rows["split"] == "train"].unique()))
    if len(classes) == 1:
        raise UserError(
            f"train: expected at least two classes in the train split, got {classes[0]!r} alone;"
            " add images of another class, or set train.task to none"
        )
    return classes


def add_augmented(train: pd.DataFrame, augmented: pd.DataFrame) -> pd.DataFrame:
    """Return the train rows and below them their augmented images, with their parents' targets."""
    labels = train.drop(columns=["shard", "offset", "size", "folder"])
    labels = labels.rename(columns={"key": "parent"})
    places = augmented[["key", "parent", "shard", "offset", "size"]]
    children = places.merge(labels, on="parent").drop(columns="parent")
    children = children.assign(folder=str(AUGMENTED)).sort_values("key")
    return pd.concat([train, children], ignore_index=True)


def read_rows(root: Path, task: str) -> tuple[pd.DataFrame, int]:
    """Return the labelled images of train (then augmented), validation; and train's originals."""
    rows = select_labelled(
        tables.read_table(root / SPLIT, tables.SPLIT),
        tables.read_table(root / GROUPS, tables.GROUPS), task,
    )  # fmt: skip
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    rows = rows.merge(stored, on="key", validate="1:1").assign(folder=str(RAW))
    train = rows[rows["split"] == "train"]
    augmented = tables.read_table(root / AUGMENTED / "index.parquet", tables.AUGMENTED)
    used = [add_augmented(train, augmented), rows[rows["split"] == "validation"]]
    return pd.concat(used, ignore_index=True), len(train)
