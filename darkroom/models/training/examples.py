"""Which stored images a model learns from, and with which label.

Only labelled ones: originals of the train split with their augmented images, which have their
parents' labels, and originals of the validation split.
"""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.params.train import TrainParams
from darkroom.core.randomness import digest_number
from darkroom.filters.preprocess import Step
from darkroom.images.decode import DecodeError, Pixels
from darkroom.images.grey_range import read_range
from darkroom.labels.labelled import name_labels, select_labelled
from darkroom.models.backbones import input_rule
from darkroom.models.inputs import min_side, prefetch
from darkroom.models.stored_images import StoredImages
from darkroom.models.targets import Distributions, distributions, one_hot, strata

RAW = Path("data/raw")
AUGMENTED = Path("data/augmented")
GROUPS = Path("data/dedupe/groups.parquet")
SPLIT = Path("data/split.parquet")


class Examples(NamedTuple):
    """Images with the target of each; images may be read when asked for."""

    images: Sequence[Pixels]
    targets: Distributions  # (n, bins or classes), rows sum to 1


class TrainingSet(NamedTuple):
    """What one training learns from, and what it is validated on."""

    rows: pd.DataFrame  # `key`, `parent`, `split` and labels of all images, below in two parts
    classes: tuple[str, ...]  # in the order of the outputs; empty unless classification
    train: Examples
    validation: Examples
    left_out: int  # originals beyond `train.max_per_class`
    digest: str


def load_training_set(
    root: Path, params: TrainParams, steps: Sequence[Step], seed: int, max_pixels: int,
    damaged: Collection[str] = (),
) -> TrainingSet:  # fmt: skip
    """Return the examples that the tables under `root` have for these parameters.

    `steps` are the filters that each image goes through, `damaged` keys to leave out. Raises
    UserError where nothing can be learned.
    """
    rows = read_rows(root, params.task)
    rows = rows[~rows["key"].isin(damaged)].reset_index(drop=True)
    if params.task == "one_class":
        rows = select_training_classes(rows, params)
    classes = find_classes(rows) if params.task == "classification" else ()
    targets = make_targets(rows, classes, params)
    used = limit_per_class(rows, strata(targets), params.max_per_class, seed)
    left_out = int((rows["key"] == rows["parent"])[~used].sum())
    rows, targets = rows[used], targets[used]
    grey_range = read_range(root)
    side = min_side(params.image_size, input_rule(params), params.task, bool(steps))
    train, validation = (
        Examples(
            StoredImages(
                root, rows[part], steps, side, max_pixels=max_pixels, grey_range=grey_range
            ),
            targets[part],
        )
        for part in (rows["split"] == name for name in ("train", "validation"))
    )
    known = digest(rows, targets) + (f", greys {grey_range}" if grey_range else "")
    return TrainingSet(rows, classes, train, validation, left_out, known)


def find_damaged(data: TrainingSet) -> dict[str, str]:
    """Return the reason by key of each image that does not decode; every one is decoded for it."""

    def fault(at: tuple[Sequence[Pixels], int]) -> str | None:
        try:
            at[0][at[1]]
        except DecodeError as error:
            return error.reason
        return None

    found: dict[str, str] = {}
    for split, images in (("train", data.train.images), ("validation", data.validation.images)):
        keys = data.rows.loc[data.rows["split"] == split, "key"]
        faults = prefetch(fault, ((images, position) for position in range(len(images))))
        found |= {key: reason for key, reason in zip(keys, faults, strict=True) if reason}
    return found


def make_targets(
    rows: pd.DataFrame, classes: tuple[str, ...], params: TrainParams
) -> Distributions:
    """Return the target of each row: (n, bins or classes)."""
    if params.task == "one_class":
        return one_hot(list(rows["label"]), training_classes(params))
    if params.task == "classification":
        return one_hot(list(rows["label"]), classes)
    return distributions(rows, params.scale)


def digest(rows: pd.DataFrame, targets: Distributions) -> str:
    """Return a digest of the training data: keys are content hashes, so it covers the pixels."""
    keys = "\n".join(f"{row.split} {row.key}" for row in rows.itertuples())
    return hashlib.sha256(keys.encode() + targets.tobytes()).hexdigest()


def training_classes(params: TrainParams) -> tuple[str, ...]:
    """Return the labels to learn from: the normal one, and for `deep` the reference ones."""
    deep = params.outlier_method == "deep"
    return (str(params.normal_class), *(sorted(set(params.reference_classes)) if deep else ()))


def select_training_classes(rows: pd.DataFrame, params: TrainParams) -> pd.DataFrame:
    """Return the rows with a label to learn from. Raises UserError for a label that no row has.

    All others are outliers or irrelevant, and are not read before the evaluation.
    """
    wanted = training_classes(params)
    for setting, names in (("normal_class", wanted[:1]), ("reference_classes", wanted[1:])):
        absent = sorted(set(names) - set(rows["label"]))
        if absent:
            raise UserError(
                f"params.yaml: train.{setting}: expected labels of train or validation images,"
                f" {name_labels(rows['label'])}; got {', '.join(map(repr, absent))}"
            )
    return rows[rows["label"].isin(wanted)].reset_index(drop=True)


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


def refuse_untrained(rows: pd.DataFrame, groups: pd.DataFrame) -> None:
    """Raise UserError for a class without train image; `rows` are the labelled of all splits.

    split leaves none without, unless the sources or an earlier run put its images elsewhere.
    """
    untrained = sorted(set(rows["label"]) - set(rows["label"][rows["split"] == "train"]))
    if not untrained:
        return
    inside = groups[groups["key"].isin(rows["key"][rows["label"].isin(untrained)])]
    official = inside["official_split"].notna().any()
    raise UserError(
        f"train: no image in the train split of class {name_labels(pd.Series(untrained))}, since "
        + (
            "the sources name another split for it: correct that, or set split.official: ignore in"
            " params.yaml"
            if official
            else "an earlier run of split put what its images are related to elsewhere: add images,"
            " or delete data/split.parquet and run `dvc repro`, which draws all splits anew"
        )
        + "; or correct the labels"
    )


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
    # The setting's first name: another salt would draw other images.
    places = [digest_number(seed, "train.most_per_bin", key) for key in rows["key"][originals]]
    drawn = pd.DataFrame(
        {"key": rows["key"][originals], "stratum": strata[originals], "place": places}
    ).sort_values("place")
    used = drawn.groupby("stratum").head(most)["key"]
    return np.asarray(~train | rows["parent"].isin(used))


def read_rows(root: Path, task: str) -> pd.DataFrame:
    """Return the labelled images of train (then augmented), and of validation."""
    groups = tables.read_table(root / GROUPS, tables.GROUPS)
    rows = select_labelled(tables.read_table(root / SPLIT, tables.SPLIT), groups, task)
    if task == "classification":
        refuse_untrained(rows, groups)
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    rows = rows.merge(stored, on="key", validate="1:1").assign(folder=str(RAW))
    rows["parent"] = rows["key"]
    train = rows[rows["split"] == "train"]
    augmented = tables.read_table(root / AUGMENTED / "index.parquet", tables.AUGMENTED)
    labels = train.drop(columns=["key", "shard", "offset", "size", "folder"])
    children = augmented[["key", "parent", "shard", "offset", "size"]].merge(labels, on="parent")
    children = children.assign(folder=str(AUGMENTED)).sort_values("key")
    used = [train, children, rows[rows["split"] == "validation"]]
    return pd.concat(used, ignore_index=True)
