"""What Darkroom's models reach on public photographs, and what leaking copies hide.

    python -m benchmarks.public DATA [--only quality|cage|hotdog] [--seeds 5] [--work FOLDER]

DATA holds the folders, which are not part of this repository:

- `quality`: 1,500 photographs of BIQ2021's training part, `images/` and `labels.csv` (name, mean);
- `cage`: {train,test}/{class0,class1}/, one actor's face (class1) against random scenes;
- `hotdog`: {train,test,holdout}/{hot_dog,not_hot_dog}/, with copies across the three;
- `keras`: the ImageNet weights, if Keras is not to fetch them.

Each set goes through the stages from scan to split, by settings alone. `quality` is evaluated out
of fold, by folds of split groups, with the first seed. `cage` is trained and evaluated by the
stages, once per seed; a seed also chooses which training images stop the training. `hotdog` is
fitted *before*, on train as it is given, and tested on test and holdout as they are given,
duplicates included, and *after*, when dedupe has taken them out; a sixth of the training images
stops both.
Intervals draw groups of images; those over seeds count an image once, whatever the number of seeds.
FOLDER keeps the stages' work for another run; the repository's params.yaml gives what is not said
here. The settings below were there before the measurement; nothing was chosen by a test part.

Found (2 cores; the last digits depend on the processor and on the version of TensorFlow):

    quality:
    1499 photographs in 984 split groups, 5 folds, out of fold
      MobileNetV2 0.35: srcc 0.679 (0.639 to 0.714); plcc 0.698 (0.664 to 0.728);
        rmse 0.133 (0.128 to 0.138); auc 0.791 (0.764 to 0.815)
      bundled: srcc 0.368 (0.314 to 0.421); plcc 0.386 (0.334 to 0.436);
        rmse 0.171 (0.165 to 0.178); auc 0.662 (0.631 to 0.692)
    cage:  (--seeds 3)
    leaking files that were rejected: {'train into test': 19}
      seed 17, 120 test images in 119 groups: accuracy 0.992 (0.953 to 0.999);
        auc 0.995 (0.927 to 1.000); the same accuracy with seeds 18 and 19
    hotdog:  (--seeds 3)
    leaking files that were rejected: {'train into test': 54}
      all test images: before 0.980 (0.934 to 0.994); after 0.917 (0.843 to 0.958);
        before less after 0.063 (0.020 to 0.143)
      of which leaked: before 1.000 (0.927 to 1.000); after 0.895 (0.784 to 0.953);
        before less after 0.105 (0.039 to 0.229)
      not leaked: before 0.949 (0.837 to 0.986); after 0.949 (0.837 to 0.986);
        before less after 0.000 (-0.040 to 0.051)
"""

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.folds import (
    Indices,
    bare_model,
    hold_out,
    predict_fold,
    predict_folds,
    read_rows,
)
from darkroom.core import shards, tables
from darkroom.core.files import MetricTree, write_text
from darkroom.core.params.load import FILE, load_params
from darkroom.core.params.whole import Params
from darkroom.core.yaml import read_yaml
from darkroom.evaluation.agreement import srcc
from darkroom.evaluation.metrics import Settings, bootstrap_metric, interval_key, proportion_metric
from darkroom.evaluation.predictions import evaluate_predictions
from darkroom.evaluation.statistic import weighted_mean
from darkroom.labels.official_splits import standard_split
from darkroom.models.training.examples import RAW, SPLIT, make_targets
from stages import augment, clean, dedupe, download, embed, evaluate, scan, split, train

REPOSITORY = Path(__file__).parents[1]
RECORDS = Path("data/dedupe/records.parquet")
FOLDS = 5
PREPARATION = (scan, download, clean, embed, dedupe, split)
MODELLING = (split, augment, train, evaluate)  # split again, since it depends on the seed

MOBILENET = {
    "backbone": "MobileNetV2", "alpha": 0.35, "weights": "imagenet", "image_size": 224,
    "epochs": {"head": 30, "fine_tune": 3}, "learning_rate": {"head": 0.001, "fine_tune": 0.0001},
}  # fmt: skip
BUNDLED = MOBILENET | {"backbone": "bundled", "alpha": None, "weights": None, "image_size": 128}
BACKBONES = {"MobileNetV2 0.35": MOBILENET, "bundled": BUNDLED}

IN_FOLDERS = {"label_from": "parent", "split_from": "grandparent"}
SETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # the source, and what else is set
    "quality": (
        {"labels": "labels.csv"},
        {
            "train": {"task": "rating", "scale": {"low": 0, "high": 1, "bins": 10}},
            "evaluate": {"cutoff": 0.5},
        },
    ),
    "cage": (
        IN_FOLDERS,
        {"train": {"task": "classification"}, "evaluate": {"positive_class": "class1"}},
    ),
    "hotdog": (
        IN_FOLDERS,
        {"train": {"task": "classification"}, "split": {"map": {"holdout": "test"}}},
    ),
}


def write_settings(root: Path, data: Path, name: str) -> Params:
    """Write and return the settings of a set: the repository's, and what `SETS` says."""
    source, changes = SETS[name]
    values = read_yaml(REPOSITORY / FILE)
    values["download"]["sources"] = [{"kind": "folder", "path": str(data / name)} | source]
    values["augment"]["target"] = 0
    for section, settings in changes.items():
        values[section] |= settings
    values["train"] |= MOBILENET
    write_text(root / FILE, json.dumps(values))  # JSON is YAML, too
    return load_params(root, Params)


def with_training(params: Params, settings: dict[str, Any], seed: int) -> Params:
    """Return the parameters with another seed and other settings of train."""
    values = params.model_dump()
    values["train"] |= settings
    return Params.model_validate(values | {"seed": seed})


def show_quality(root: Path, params: Params, seeds: Sequence[int]) -> None:
    """Fit and test each fold with each backbone, and print what all predictions are worth."""
    rows = read_rows(root, "rating")
    groups = rows["split_group"].nunique()
    print(f"{len(rows)} photographs in {groups} split groups, {FOLDS} folds, out of fold")
    for name, settings in BACKBONES.items():
        chosen = with_training(params, settings, seeds[0])
        model, folds = bare_model(rows, chosen), []
        for parts, table in predict_folds(root, rows, chosen, FOLDS, 0):
            folds.append(table)
            found = srcc(table["target_mean"].to_numpy(), table["predicted_mean"].to_numpy())
            sizes = ", ".join(str(len(part)) for part in parts)
            print(f"  {name}, {sizes} to train, stop, test: srcc {found:.3f}", flush=True)
        tested = pd.concat(folds, ignore_index=True)
        tree = evaluate_predictions(tested, model, chosen.evaluate, chosen.seed)
        print_metrics(name, {key: tree[key] for key in ("srcc", "plcc", "rmse", "auc")})


def show_cage(root: Path, params: Params, seeds: Sequence[int]) -> None:
    """Train and evaluate by the stages, once per seed, and print each result."""
    print(describe_leaks(root))
    for seed in seeds:
        chosen = with_training(params, MOBILENET, seed)
        for stage in MODELLING:
            stage.run(root, chosen)
        tree = json.loads((root / evaluate.METRICS).read_text())
        print_metrics(
            f"seed {seed}, {tree['n']} test images in {tree['groups']} groups",
            {key: tree[key] for key in ("accuracy", "auc")},
        )


def show_hotdog(root: Path, params: Params, seeds: Sequence[int]) -> None:
    """Fit before and after the removal of duplicates, once per seed, and print the accuracies."""
    index = tables.read_table(root / RAW / "index.parquet", tables.INDEX)
    records = tables.read_table(root / RECORDS, tables.RECORDS)
    splits = tables.read_table(root / SPLIT, tables.SPLIT)
    given = given_rows(index, records, splits, params.split.map)
    after = read_rows(root, "classification").merge(
        given[["key", "leaked"]].drop_duplicates("key"), on="key", validate="1:1"
    )
    print(describe_leaks(root))
    tested = []
    for seed in seeds:
        chosen = with_training(params, MOBILENET, seed)
        for moment, rows in (("before", given), ("after", after)):
            tested.append(test_given(root, rows, chosen).assign(moment=moment, seed=seed))
            share = tested[-1]["right"].mean()
            print(f"  seed {seed}, {moment}: accuracy {share:.3f}", flush=True)
    settings = Settings.of(params.evaluate, params.seed)
    for name, metrics in compare(pd.concat(tested, ignore_index=True), settings).items():
        print_metrics(name, metrics)


def given_rows(
    index: pd.DataFrame, records: pd.DataFrame, splits: pd.DataFrame, mapping: dict[str, str]
) -> pd.DataFrame:
    """Return one row per record, copies included, in the split that its source gives it.

    `index`, `records` and `splits` are the tables INDEX, RECORDS and SPLIT. A row is a training
    image or a test image, as people have them who look for no copies. `split_group` is that of the
    image which dedupe kept in its place, so that copies count as one where intervals are made;
    `leaked` says of a test image that training holds a copy of it.
    """
    known = index[(index["status"] == "kept") & index["official_split"].notna()]
    fates = records[["source", "name", "reason", "representative"]].rename(
        columns={"reason": "fate"}
    )
    rows = known.merge(fates, on=["source", "name"], validate="1:1")
    rows["split"] = [standard_split(name, mapping) for name in rows["official_split"]]
    best = rows["representative"].where(rows["representative"].notna(), rows["key"])
    groups = splits.set_index("key")["split_group"]
    rows["split_group"] = best.map(groups).where(best.isin(groups.index), best)
    in_train = set(best[rows["split"] == "train"])
    rows["leaked"] = (rows["split"] == "test") & best.isin(in_train)
    places = shards.stored(index)
    kept = ["source", "name", "key", "label", "split", "split_group", "leaked"]
    rows = rows[kept].merge(places, on="key", validate="m:1").assign(folder=str(RAW))
    return rows.sort_values(["source", "name"], ignore_index=True)


def test_given(root: Path, rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Fit on the rows that are not `test`, and say of each that is whether the model was right."""
    classes = tuple(sorted(rows["label"].unique()))
    wanted = make_targets(rows, classes, params.train)
    parts = divide_given(rows, params.seed)
    outputs = predict_fold(root, rows, wanted, parts, params, 0)
    right = outputs.argmax(axis=1) == wanted[parts[2]].argmax(axis=1)
    return rows.iloc[parts[2]][["split_group", "leaked"]].assign(right=right)


def divide_given(rows: pd.DataFrame, seed: int) -> tuple[Indices, Indices, Indices]:
    """Return (train, validation, test) positions: a sixth of what is not test stops the training.

    That sixth is drawn by image, as people do who look for no copies. Where copies were removed
    an image is as good as a group.
    """
    is_test = (rows["split"] == "test").to_numpy(bool)
    others = np.flatnonzero(~is_test)
    labels = rows["label"].to_numpy(object)[others]
    fit, stop = hold_out(np.arange(len(others)), labels, seed)
    return others[fit], others[stop], np.flatnonzero(is_test)


def compare(tested: pd.DataFrame, settings: Settings) -> dict[str, MetricTree]:
    """Return the accuracy before and after, and the difference, of all, leaked and other images.

    `tested` has a row per moment (`before`, `after`), seed and test image: `moment`, `seed`,
    `split_group`, `leaked`, `right`. The images are drawn in groups, so that seeds add no images.
    """
    parts = {
        "all test images": np.ones(len(tested), bool),
        "of which leaked": tested["leaked"].to_numpy(bool),
        "not leaked": ~tested["leaked"].to_numpy(bool),
    }
    return {name: _compare_part(tested[part], settings) for name, part in parts.items()}


def _compare_part(tested: pd.DataFrame, settings: Settings) -> MetricTree:
    right = tested["right"].to_numpy(bool)
    groups = tested["split_group"].to_numpy(object)
    before = (tested["moment"] == "before").to_numpy(bool)
    share = {True: weighted_mean(right[before] * 1.0), False: weighted_mean(right[~before] * 1.0)}

    def gain(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return share[True](weights[:, before]) - share[False](weights[:, ~before])

    value = float(right[before].mean() - right[~before].mean()) if len(set(before)) == 2 else None
    return {
        "before": proportion_metric(right[before], groups[before], settings),
        "after": proportion_metric(right[~before], groups[~before], settings),
        "before less after": bootstrap_metric("gain", value, gain, groups, settings),
    }


def describe_leaks(root: Path) -> str:
    """Return how many files dedupe took out of the weaker side of a leak."""
    leaks = json.loads((root / dedupe.METRICS).read_text())["leaks"]
    rejected = {way.replace("_", " "): number for way, number in leaks.items() if number}
    return f"leaking files that were rejected: {rejected or 'none'}"


def print_metrics(name: str, metrics: MetricTree) -> None:
    """Print each metric with its interval, in a row."""
    shown = "; ".join(f"{key} {_shown(metric)}" for key, metric in metrics.items())
    print(f"  {name}: {shown}", flush=True)


def _shown(metric: MetricTree) -> str:
    value, interval = metric["value"], metric.get(interval_key(0.95), {"low": None})
    if value is None:
        return "undefined"
    if interval["low"] is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


SHOW = {"quality": show_quality, "cage": show_cage, "hotdog": show_hotdog}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=SHOW)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=None, help="keeps the stages' work")
    given = parser.parse_args()
    data = given.data.resolve()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if (data / "keras").is_dir():
        os.environ.setdefault("KERAS_HOME", str(data / "keras"))
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as temporary:
        for name in [given.only] if given.only else SHOW:
            root = (given.work or Path(temporary)).resolve() / name
            params = write_settings(root, data, name)
            for stage in PREPARATION:
                stage.run(root, params)
            print(f"{name}:", flush=True)
            SHOW[name](root, params, range(params.seed, params.seed + given.seeds))


if __name__ == "__main__":
    main()
