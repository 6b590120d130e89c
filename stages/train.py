"""Train the model on the labelled images of the train split, and export it.

Enters: `data/split.parquet` and `data/dedupe/groups.parquet` (who, with which label), the bytes in
`data/raw/` and `data/augmented/`, and section `train` of params.yaml. Leaves: `data/model/`
(`model.keras`, `model.tflite`, `model.json`), `metrics/train.json` and, renewed with every epoch,
the training curves and `metrics/live/metrics.json`.

- Only labelled images are trained on; an augmented image has its parent's label.
- `rating`: a softmax over `train.scale.bins` scores against the votes of each image, or against a
  Gaussian with its mean (and std); loss: earth mover's distance with r = 2 (NIMA, Talebi and
  Milanfar 2018). `classification`: a softmax over the class names in order, cross entropy.
  `one_class`: of `train.normal_class` alone (`darkroom.models.one_class`), and `scorer.npz` beside
  the network, which turns its outputs into outlier scores. `none`: a `model.json` that says so,
  and nothing else.
- `train.max_per_class` draws at most so many originals per class or score bin, by seed and key, and
  `train.class_weights: balanced` weighs the training loss by n / (k n_c); validation is untouched.
- The validation split decides which epoch's weights are kept, and when to stop.
- A killed run resumes from `.darkroom/train/` and ends with the same bytes.

Alone: `python -m stages.train`.
"""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.files import MetricTree, write_metrics, write_text
from darkroom.core.params.section import StageParams
from darkroom.core.params.train import TrainParams
from darkroom.core.paths import resolve_path
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.filters.preprocess import Step, read_steps
from darkroom.models import inputs, targets
from darkroom.models.backbones import input_rule
from darkroom.models.one_class.fit import fit_one_class, select_training_classes, training_classes
from darkroom.models.saved import write_model, write_none
from darkroom.models.training.checkpoints import HistoryRow
from darkroom.models.training.dvclive import live_metrics
from darkroom.models.training.examples import StoredImages, find_classes, limit_per_class, read_rows
from darkroom.models.training.fit import Examples, FittedModel, fit_model

MODEL = Path("data/model")
METRICS = Path("metrics/train.json")
HISTORY = Path("metrics/plots/train/history.csv")
LIVE = Path("metrics/live/metrics.json")
SCRATCH = Path(".darkroom/train")
PROBES = 32  # images on which the two exported networks are compared

logger = logging.getLogger(__name__)


class Params(StageParams):
    """The sections of params.yaml that train reads."""

    seed: int
    train: TrainParams


def make_targets(
    rows: pd.DataFrame, classes: tuple[str, ...], params: TrainParams
) -> targets.Distributions:
    """Return what the model is to predict for each row: (n, bins or classes)."""
    if params.task == "one_class":
        return targets.one_hot(list(rows["label"]), training_classes(params))
    if params.task == "classification":
        return targets.one_hot(list(rows["label"]), classes)
    return targets.distributions(rows, params.scale)


def digest(rows: pd.DataFrame, distributions: targets.Distributions) -> str:
    """Return a digest of the training data: keys are content hashes, so it covers the pixels."""
    known = "\n".join(f"{row.split} {row.key}" for row in rows.itertuples())
    return hashlib.sha256(known.encode() + distributions.tobytes()).hexdigest()


def describe(
    params: Params, classes: tuple[str, ...], steps: list[Step], fitted: FittedModel, data: str
) -> dict[str, Any]:
    """Return what `model.json` says; nothing in it depends on when or where it was made."""
    rating, one_class = (params.train.task == task for task in ("rating", "one_class"))
    told = ("normal_class", "outlier_method", "reference_classes") if one_class else ()
    return {
        "task": params.train.task,
        "classes": list(classes),
        "scale": params.train.scale.model_dump() if rating else None,
        "preprocess": steps,
        "input": {"size_px": fitted.size_px, "rule": fitted.rule, "channels": "RGB, 0 to 255"},
        "seed": params.seed,
        "parameters": params.train.model_dump(),
        "training_data": data,
        **{name: getattr(params.train, name) for name in told},
    }


def summarise(
    fitted: FittedModel, rows: pd.DataFrame, left_out: int, difference: float
) -> MetricTree:
    """Return the metrics: how much data, how long, and how well it fits.

    `rows` are those that were used, `left_out` counts the originals that were not drawn.
    """
    last = fitted.history[-1] if fitted.history else {"loss": None}
    best = fitted.best or {"epoch": 0, "val_loss": None}
    phases = [row["phase"] for row in fitted.history]
    trained = rows[rows["split"] == "train"]
    originals = int((trained["key"] == trained["parent"]).sum())
    return {
        "images": {
            "train": originals,
            "augmented": len(trained) - originals,
            "left_out": left_out,
            "validation": int((rows["split"] == "validation").sum()),
        },
        "epochs": {"head": phases.count("head"), "fine_tune": phases.count("fine_tune")},
        "best_epoch": best["epoch"],
        "loss": {"train": last["loss"], "validation": best["val_loss"]},
        "parameters": int(fitted.model.count_params()),
        "export": {"largest_difference": difference},
    }


def write_history(path: Path, history: list[HistoryRow]) -> None:
    """Publish the training curves, one row per epoch."""
    columns = ["epoch", "phase", "loss", "val_loss"]
    write_text(path, pd.DataFrame(history, columns=columns).to_csv(index=False))


def run(root: Path, params: Params) -> None:
    """Train on the labelled images, export, and write metrics and curves."""
    if params.train.task == "none":
        _write_none(root)
        return
    steps = read_steps(params.train.preprocess, "params.yaml: train.preprocess")
    rows = read_rows(root, params.train.task)
    if params.train.task == "one_class":
        rows = select_training_classes(rows, params.train)
    classes = find_classes(rows) if params.train.task == "classification" else ()
    wanted = make_targets(rows, classes, params.train)
    used = limit_per_class(rows, targets.strata(wanted), params.train.max_per_class, params.seed)
    left_out = int((rows["key"] == rows["parent"])[~used].sum())
    rows, wanted = rows[used], wanted[used]
    learning = params.train
    side = inputs.min_side(learning.image_size, input_rule(learning), learning.task, bool(steps))
    train, validation = (
        Examples(StoredImages(root, rows[part], steps, side), wanted[part])
        for part in (rows["split"] == name for name in ("train", "validation"))
    )
    progress = Progress("train", len(rows))
    data = digest(rows, wanted)
    fit = fit_one_class if params.train.task == "one_class" else fit_model
    with live_metrics(root / LIVE.parent) as show:

        def on_epoch_end(history: list[HistoryRow]) -> None:
            write_history(root / HISTORY, history)
            show(history)

        on_epoch_end([])  # the files are there even where no phase runs
        fitted = fit(
            train, validation, _resolved(root, params.train), params.seed, root / SCRATCH, data,
            on_epoch_end,
        )  # fmt: skip
    card = describe(params, classes, steps, fitted, data)
    difference = write_model(root / MODEL, fitted.model, card, _probe(fitted, train), fitted.scorer)
    write_metrics(root / METRICS, summarise(fitted, rows, left_out, difference))
    shutil.rmtree(root / SCRATCH, ignore_errors=True)
    progress.close(len(rows), {})


def _write_none(root: Path) -> None:
    write_none(root / MODEL)
    write_history(root / HISTORY, [])
    write_metrics(root / LIVE, {})
    write_metrics(root / METRICS, {"task": "none"})
    logger.info("train: train.task is none: nothing is trained")


def _resolved(root: Path, params: TrainParams) -> TrainParams:
    """Return the parameters with `weights`, when it is a file, as an absolute path."""
    if params.weights in (None, "imagenet"):
        return params
    return params.model_copy(update={"weights": str(resolve_path(root, str(params.weights)))})


def _probe(fitted: FittedModel, train: Examples) -> NDArray[np.float32]:
    """Return a few training images as the network takes them: (b, size, size, 3)."""
    some = range(min(PROBES, len(train.images)))
    views = [inputs.views(train.images[i], fitted.size_px, fitted.rule)[0] for i in some]
    return np.stack(views).astype(np.float32)


if __name__ == "__main__":
    run_as_script(run, Params)
