"""Which stored images a model learns from, and with which label.

Only labelled ones: originals of the train split with their augmented images, which have their
parents' labels, and originals of the validation split.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.randomness import digest_number
from darkroom.filters.preprocess import Step, preprocess
from darkroom.images.decode import Pixels, decode_at_least
from darkroom.labels.labelled import is_labelled
from darkroom.labels.official_splits import SPLITS

RAW = Path("data/raw")
AUGMENTED = Path("data/augmented")
GROUPS = Path("data/dedupe/groups.parquet")
SPLIT = Path("data/split.parquet")
MAX_NAMED = 10  # classes in one message

logger = logging.getLogger(__name__)


class StoredImages(Sequence[Pixels]):
    """Images that are read from their shards, decoded and prepared, when asked for."""

    def __init__(
        self, root: Path, rows: pd.DataFrame, steps: Sequence[Step] = (),
        min_side: int | None = None,
    ) -> None:  # fmt: skip
        """Take the rows: `folder` below root, `shard`, `offset`, `size`; and the filters.

        `min_side` is that of `decode_at_least`.
        """
        self._root, self._steps, self._min_side = root, steps, min_side
        self._places = list(rows[["folder", "shard", "offset", "size"]].itertuples(index=False))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._places)

    def __getitem__(self, position: Any) -> Any:
        """Read, decode and prepare one image."""
        folder, shard, offset, size = self._places[position]
        place = shards.Place(shard, int(offset), int(size))
        content = shards.read_member(self._root / folder, place)
        return preprocess(decode_at_least(content, self._min_side), self._steps)


def select_labelled(split: pd.DataFrame, groups: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return `key`, `split` and the label columns of the images that have a label for this task."""
    columns = ["label", "ratings", "mean", "std"]
    rows = split[["key", "split"]].merge(groups[["key", *columns]], on="key", validate="1:1")
    known = is_labelled(rows, task)
    wanted = "classification" if task == "rating" else "rating"
    other = int(is_labelled(rows, wanted).sum())
    if not known.any() and other:
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
            " add images of another class, set train.task to one_class with that as"
            " train.normal_class, or set it to none"
        )
    return classes


def check_classes(rows: pd.DataFrame) -> None:
    """Check that each class can be learned and evaluated; `rows` are the labelled of all splits.

    Raises UserError for a class with one image, or with none in train; warns of one with none in
    validation or test.
    """
    sizes = rows.groupby(["label", "split"]).size().unstack(fill_value=0)
    sizes = sizes.reindex(columns=SPLITS, fill_value=0)
    single, untrained = sizes.sum(axis=1) == 1, sizes["train"] == 0
    if single.any():
        raise UserError(
            f"train: expected two images of a class at least, one to learn from and one to judge"
            f" by; got one of {_named(sizes.index[single])}: add images, or correct or empty the"
            " label of that image"
        )
    if untrained.any():
        raise UserError(
            f"train: no image in the train split of {_named(sizes.index[untrained])}, which"
            " validation or test holds: add images of other groups, lower split.test and"
            " split.validation in params.yaml, or correct the labels"
        )
    for name in SPLITS[1:]:
        absent = sizes.index[sizes[name] == 0]
        if len(absent):
            logger.warning(
                "train: no image in the %s split of %s: nothing is known there of how well they"
                " are recognised; add images of other groups", name, _named(absent),
            )  # fmt: skip


def _named(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - MAX_NAMED} more" if len(classes) > MAX_NAMED else ""
    return "class " * (len(classes) == 1) + ", ".join(map(repr, classes[:MAX_NAMED])) + more


def limit_per_class(
    rows: pd.DataFrame, strata: NDArray[np.int64], most: int | None, seed: int
) -> NDArray[np.bool_]:
    """Return which rows are used when each class or score bin has at most `most` train images.

    `rows` have `key`, `parent` (the key itself for an original) and `split`, `strata` is (n,). An
    original's place in the draw depends on the seed and its key alone, and augmented images follow
    their parents. Validation stays whole, as do all for None.
    """
    if most is None:
        return np.ones(len(rows), bool)
    train = rows["split"].to_numpy() == "train"
    originals = train & (rows["key"] == rows["parent"]).to_numpy(bool)
    places = [digest_number(seed, "train.max_per_class", key) for key in rows["key"][originals]]
    drawn = pd.DataFrame(
        {"key": rows["key"][originals], "stratum": strata[originals], "place": places}
    ).sort_values("place")
    used = drawn.groupby("stratum").head(most)["key"]
    return np.asarray(~train | rows["parent"].isin(used))


def add_augmented(train: pd.DataFrame, augmented: pd.DataFrame) -> pd.DataFrame:
    """Return the train rows and below them their augmented images, with their parents' targets."""
    labels = train.drop(columns=["key", "shard", "offset", "size", "folder"])
    places = augmented[["key", "parent", "shard", "offset", "size"]]
    children = places.merge(labels, on="parent")
    children = children.assign(folder=str(AUGMENTED)).sort_values("key")
    return pd.concat([train, children], ignore_index=True)


def read_rows(root: Path, task: str) -> pd.DataFrame:
    """Return the labelled images of train (then augmented), and of validation."""
    rows = select_labelled(
        tables.read_table(root / SPLIT, tables.SPLIT),
        tables.read_table(root / GROUPS, tables.GROUPS), task,
    )  # fmt: skip
    if task == "classification":
        check_classes(rows)
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    rows = rows.merge(stored, on="key", validate="1:1").assign(folder=str(RAW))
    rows["parent"] = rows["key"]
    train = rows[rows["split"] == "train"]
    augmented = tables.read_table(root / AUGMENTED / "index.parquet", tables.AUGMENTED)
    used = [add_augmented(train, augmented), rows[rows["split"] == "validation"]]
    return pd.concat(used, ignore_index=True)
