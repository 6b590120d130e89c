"""Evaluate the model out of fold: every photograph is tested once, by a model that never saw it.

    python -m benchmarks.folds [--data ROOT] [--folds 5] [--augment N]

ROOT (default: the working folder) is a folder in which the pipeline has run as far as `split`; its
params.yaml is used. Every labelled image takes part, whatever its split. Folds are made of split
groups (photographs, with their copies and families), stratified by class or score quintile; of
each training part a sixth of the groups is held out for early stopping. Each model trains as
`stages.train` does, with new images as `stages.augment` makes them until N train (default
`augment.target`; 0 for none). Nothing is written.

A single split of few photographs says as much about which photograph fell into it as about the
model; this uses them all. Intervals draw photographs, not images; they hold for the recipe on
photographs like these, and do not include what other seeds would give.
"""

import argparse
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from darkroom.augmentation.balance import count_variants, find_strata
from darkroom.augmentation.chains import Recipe, allowed_operations, apply, draw_variants
from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from darkroom.core.paths import resolve_path
from darkroom.evaluation.metrics import interval_key
from darkroom.evaluation.predictions import (
    class_predictions,
    evaluate_predictions,
    rating_predictions,
)
from darkroom.filters.preprocess import preprocess, read_steps
from darkroom.images.decode import Pixels
from darkroom.labels.labelled import select_labelled
from darkroom.models.backbones import input_rule
from darkroom.models.inputs import min_side
from darkroom.models.saved import SavedModel
from darkroom.models.stored_images import StoredImages
from darkroom.models.training.examples import (
    GROUPS,
    RAW,
    SPLIT,
    Examples,
    make_targets,
)
from darkroom.models.training.fit import fit_model

HELD_OUT = 6  # one part in so many of the training groups stops the training

Indices = NDArray[np.int64]


class Augmented(Sequence[Pixels]):
    """The originals, and after them their variants, made when asked for as `augment` makes them.

    All are prepared as `train` does it: after augmentation.
    """

    def __init__(self, originals: StoredImages, rows: pd.DataFrame, params: Params, target: int):
        """Plan the variants that bring the originals, `rows` unprepared, to `target` images."""
        wishes, task, keys = params.augment, params.train.task, rows["key"].tolist()
        self._originals, self._keys, self._seed = originals, keys, params.seed
        limits = allowed_operations(task, wishes.operations)
        self._recipe = Recipe(limits, wishes.operations_per_image, wishes.fill)
        self._steps = read_steps(params.train.preprocess, "params.yaml: train.preprocess")
        strata = find_strata(rows, params.augment, params.train)
        wanted = count_variants(strata, target, task) if target > len(keys) else {}
        self.parents = list(range(len(keys)))  # of each image, its original's position
        self._variants = [-1] * len(keys)
        for position, key in enumerate(keys):
            for variant in range(wanted.get(key, 0)):
                self.parents.append(position)
                self._variants.append(variant)

    def __len__(self) -> int:
        """Return the number of images, new ones included."""
        return len(self.parents)

    def __getitem__(self, position: Any) -> Any:
        """Read one image, and change it if it is a variant."""
        parent, variant = self.parents[position], self._variants[position]
        pixels = self._originals[parent]
        if variant < 0:
            return preprocess(pixels, self._steps)
        chains = draw_variants(
            self._seed, self._keys[parent], variant + 1, self._recipe, pixels.shape[:2]
        )
        return preprocess(apply(pixels, chains[variant]), self._steps)


def read_rows(root: Path, task: str) -> pd.DataFrame:
    """Return every labelled image that was kept: labels, split group, place."""
    split = tables.read_table(root / SPLIT, tables.SPLIT)
    rows = select_labelled(split, tables.read_table(root / GROUPS, tables.GROUPS), task)
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    return rows.merge(stored, on="key", validate="1:1").assign(folder=str(RAW))


def strata(rows: pd.DataFrame, task: str, scores: NDArray[np.float64]) -> NDArray[Any]:
    """Return what to stratify by: the class, or the quintile of the mean score."""
    if task == "classification":
        return rows["label"].to_numpy()
    ranks = scores.argsort(kind="stable").argsort(kind="stable")
    return np.asarray(5 * ranks // len(ranks))


def divide(
    groups: NDArray[Any], strata: NDArray[Any], folds: int, seed: int
) -> list[tuple[Indices, Indices, Indices]]:
    """Return (train, validation, test) positions per fold; no group is on two sides."""
    least = max(folds, 3)
    if len(set(groups)) < least:
        raise UserError(f"expected at least {least} groups of images, got {len(set(groups))}")
    divided = []
    for others, test in _split(groups, strata, folds, seed):
        train, validation = hold_out(groups[others], strata[others], seed)
        divided.append((others[train], others[validation], test))
    return divided


def hold_out(groups: NDArray[Any], strata: NDArray[Any], seed: int) -> tuple[Indices, Indices]:
    """Return the positions to train on, and a sixth of the groups to stop by."""
    return _split(groups, strata, min(HELD_OUT, len(set(groups))), seed)[0]


def _split(
    groups: NDArray[Any], strata: NDArray[Any], parts: int, seed: int
) -> list[tuple[Indices, Indices]]:
    """Return (rest, part) for each of the parts, stratified where a stratum is large enough."""
    if np.unique(strata, return_counts=True)[1].max() < parts:
        strata = np.zeros(len(groups), np.int64)
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a rare class cannot be in every part: as well as it goes
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(splitter.split(groups, strata, groups))


def predict_fold(
    root: Path, rows: pd.DataFrame, wanted: NDArray[np.float32], parts: tuple[Indices, ...],
    params: Params, target: int,
) -> NDArray[np.float32]:  # fmt: skip
    """Fit on the first part, stop by the second, and return what is predicted for the third."""
    train, validation, test = parts
    steps = read_steps(params.train.preprocess, "params.yaml: train.preprocess")
    learning = params.train
    side = min_side(learning.image_size, input_rule(learning), learning.task, bool(steps))
    whole = target > len(train)  # new images are made of originals in full
    originals = StoredImages(root, rows.iloc[train], (), None if whole else side, max_pixels=10**8)
    more = Augmented(originals, rows.iloc[train], params, target)
    stops, tests = (
        StoredImages(root, rows.iloc[part], steps, side, max_pixels=10**8)
        for part in (validation, test)
    )
    fitted = fit_model(
        Examples(more, wanted[train[more.parents]]), Examples(stops, wanted[validation]),
        params.train, params.seed,
    )  # fmt: skip
    return fitted.predict(tests[i] for i in range(len(test)))


def predict_folds(
    root: Path, rows: pd.DataFrame, params: Params, folds: int, target: int
) -> Iterator[tuple[tuple[Indices, ...], pd.DataFrame]]:
    """Yield each fold's parts, and the prediction table of the third."""
    model = bare_model(rows, params)
    wanted = make_targets(rows, model.classes, params.train)
    groups, scores = rows["split_group"].to_numpy(object), wanted @ np.arange(wanted.shape[1])
    for parts in divide(groups, strata(rows, params.train.task, scores), folds, params.seed):
        outputs = predict_fold(root, rows, wanted, parts, params, target)
        yield parts, prediction_table(rows.iloc[parts[2]], outputs, model)


def bare_model(rows: pd.DataFrame, params: Params) -> SavedModel:
    """Return what `evaluate_predictions` needs: task, classes or scale, and no network."""
    rating = params.train.task == "rating"
    classes = () if rating else tuple(sorted(rows["label"].unique()))
    scale = params.train.scale if rating else None
    return SavedModel(params.train.task, classes, scale, 0, "crop", b"")


def prediction_table(
    rows: pd.DataFrame, outputs: NDArray[np.float32], model: SavedModel
) -> pd.DataFrame:
    """Return the predictions of rows as those of a test split, as `stages.evaluate` has them."""
    tested = rows.assign(split="test").reset_index(drop=True)
    if model.scale is not None:
        return rating_predictions(tested, outputs, model.scale)
    return class_predictions(tested, outputs, model.classes)


def show(tree: MetricTree, confidence: float) -> None:
    """Print the metrics with their intervals."""
    if "note" in tree:
        print(f"  {tree['note']}")
    for name in ("srcc", "plcc", "auc", "emd_r1", "emd_r2", "rmse", "accuracy", "brier"):
        metric = tree.get(name)
        if metric is None:
            continue
        value, (low, high) = metric["value"], (
            metric[interval_key(confidence)][end] for end in ("low", "high")
        )  # fmt: skip
        shown = "     -" if value is None else f"{value:6.3f}"
        between = "" if low is None else f"  {100 * confidence:g} % {low:6.3f} to {high:6.3f}"
        print(f"  {name:9s}{shown}{between}  {metric['method']}  {metric.get('note', '')}".rstrip())


def main(arguments: argparse.Namespace) -> None:
    """Fit and test every fold, and print what the predictions of all together are worth."""
    root, params = arguments.data, load_params(arguments.data, Params)
    if params.train.weights not in (None, "imagenet"):
        weights = str(resolve_path(root, str(params.train.weights)))
        train = params.train.model_copy(update={"weights": weights})
        params = params.model_copy(update={"train": train})
    if params.train.task == "none":
        raise UserError("params.yaml: train.task is none, so that there is nothing to evaluate")
    target = params.augment.target if arguments.augment is None else arguments.augment
    rows = read_rows(root, params.train.task)
    model = bare_model(rows, params)
    count = rows["split_group"].nunique()
    print(f"{len(rows)} images in {count} groups, {arguments.folds} folds", flush=True)
    tested, trees, confidence = [], [], params.evaluate.confidence
    for parts, table in predict_folds(root, rows, params, arguments.folds, target):
        tested.append(table)
        trees.append(evaluate_predictions(table, model, params.evaluate, params.seed))
        sizes = ", ".join(str(len(positions)) for positions in parts)
        print(f"fold {len(trees)}: {sizes} images to train, stop, test", flush=True)
        show(trees[-1], confidence)
    print("mean over folds, each on the scale of its own model:")
    for name in ("srcc", "auc"):
        known = [
            tree[name]["value"] for tree in trees if tree.get(name, {}).get("value") is not None
        ]
        if known:
            print(f"  {name:9s}{np.mean(known):6.3f}  over {len(known)} folds")
    print("all pooled, so that models that disagree about the scale cost:")
    pooled = pd.concat(tested, ignore_index=True)
    show(evaluate_predictions(pooled, model, params.evaluate, params.seed), confidence)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path.cwd(), help="where the pipeline ran")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--augment", type=int, default=None, help="training images per fold")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.WARNING)
    main(parser.parse_args())
