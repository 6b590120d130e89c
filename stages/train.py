"""Train the model on the labelled images of the train split, and export it.

In: `data/split.parquet` and `data/dedupe/groups.parquet` (splits and labels), the bytes in
`data/raw/` and `data/augmented/`. Out: `data/model/` (`model.keras`, `model.tflite`, `model.json`,
of one class `scorer.npz`), `metrics/train.json` and, renewed with every epoch, the training curves
and `metrics/live/metrics.json`.

Only labelled images are trained on; an augmented image has its parent's label. The tasks:
- `rating`: a softmax over `train.scale.bins` scores; loss: earth mover's distance with r = 2.
- `classification`: a softmax over the class names in order; loss: cross entropy.
- `one_class`: of `train.normal_class` alone, to give outlier scores (`darkroom.models.one_class`).
- `none`: a `model.json` that says so, and nothing else.

The validation split decides which epoch's weights are kept, and when to stop. A killed run resumes
from `.darkroom/train/` and ends with the same bytes. Alone: `python -m stages.train`.
"""

import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.failure_limit import count_failed
from darkroom.core.files import MetricTree, write_metrics, write_text
from darkroom.core.params.clean import CleanParams
from darkroom.core.params.section import StageParams
from darkroom.core.params.train import TrainParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.filters.preprocess import read_steps
from darkroom.images.decode import DecodeError
from darkroom.images.grey_range import read_range
from darkroom.models.backbones import resolve_weights
from darkroom.models.one_class.fit import fit_one_class
from darkroom.models.saved import write_model, write_none
from darkroom.models.training.checkpoints import HistoryRow
from darkroom.models.training.dvclive import live_metrics
from darkroom.models.training.examples import TrainingSet, find_damaged, load_training_set
from darkroom.models.training.fit import FittedModel, describe_model, fit_model

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
    clean: CleanParams
    train: TrainParams


def summarise(fitted: FittedModel, data: TrainingSet, difference: float) -> MetricTree:
    """Return the metrics: how much data, how long, and how well it fits."""
    last = fitted.history[-1] if fitted.history else {"loss": None}
    best = fitted.best or {"epoch": 0, "val_loss": None}
    phases = [row["phase"] for row in fitted.history]
    train, validation = len(data.train.images), len(data.validation.images)
    originals = int((data.rows["key"] == data.rows["parent"]).sum()) - validation
    return {
        "images": {
            "train": originals, "augmented": train - originals, "left_out": data.left_out,
            "validation": validation,
        },
        "epochs": {"head": phases.count("head"), "fine_tune": phases.count("fine_tune")},
        "best_epoch": best["epoch"],
        "loss": {"train": last["loss"], "validation": best["val_loss"]},
        "parameters": int(fitted.model.count_params()),
        "export": {"largest_difference": difference},
    }  # fmt: skip


def write_history(root: Path, history: list[HistoryRow]) -> None:
    """Publish the training curves, one row per epoch."""
    table = pd.DataFrame(history, columns=["epoch", "phase", "loss", "val_loss"])
    write_text(root / HISTORY, table.to_csv(index=False))


def run(root: Path, params: Params) -> None:
    """Train on the labelled images, export, and write metrics and curves."""
    if params.train.task == "none":
        write_none(root / MODEL)
        write_history(root, [])
        write_metrics(root / LIVE, {})
        write_metrics(root / METRICS, {"task": "none"})
        logger.info("train: train.task is none: nothing is trained")
        return
    steps = read_steps(params.train.preprocess, "params.yaml: train.preprocess")
    limit, damaged = params.clean.max_pixels, dict[str, str]()
    data = load_training_set(root, params.train, steps, params.seed, limit)
    progress = Progress("train", len(data.rows))
    fit = fit_one_class if params.train.task == "one_class" else fit_model
    with live_metrics(root / LIVE.parent) as show:

        def on_epoch_end(history: list[HistoryRow]) -> None:
            write_history(root, history)
            show(history)

        on_epoch_end([])  # the files are there even where no phase runs

        def fit_to(data: TrainingSet) -> tuple[FittedModel, NDArray[np.float32]]:
            fitted = fit(
                data.train, data.validation, resolve_weights(root, params.train), params.seed,
                root / SCRATCH, data.digest, on_epoch_end,
            )  # fmt: skip
            return fitted, fitted.first_inputs(data.train.images, PROBES)

        try:
            fitted, probe = fit_to(data)
        except DecodeError:  # which ones do not decode is looked for at the first alone
            damaged = find_damaged(data)
            data = load_training_set(root, params.train, steps, params.seed, limit, damaged)
            fitted, probe = fit_to(data)
    card = describe_model(fitted, data, params.train, steps, params.seed, limit, read_range(root))
    difference = write_model(root / MODEL, fitted.model, card, probe, fitted.scorer)
    metrics = summarise(fitted, data, difference)
    metrics["images"]["failed"] = count_failed("train", damaged)
    write_metrics(root / METRICS, metrics)
    shutil.rmtree(root / SCRATCH, ignore_errors=True)
    progress.close(len(data.rows), {})


if __name__ == "__main__":
    run_as_script(run, Params)
