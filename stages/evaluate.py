"""Judge the model on the test split: predictions, figures with intervals, plots.

In: `data/model/`, `data/raw/` (bytes), `data/dedupe/groups.parquet` (labels), `data/split.parquet`.
Out: `data/predictions.parquet` (one row per labelled image of validation and test),
`metrics/evaluate.json`, and `metrics/plots/evaluate/{roc,predictions,confusion,calibration}.csv`.

Rules: every figure is of the test split. Validation chooses the operating point alone. Resampling
draws split groups, never single images of one group. What is undefined is null with a note. With
the task `none` all outs are written, and empty. Alone: `python -m stages.evaluate`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stages.lib.cells import to_csv
from stages.lib.failures import UserError
from stages.lib.files import MetricTree, write_metrics, write_text
from stages.lib.params import EvaluateParams, Params
from stages.lib.pixels import Pixels, decode
from stages.lib.progress import Progress
from stages.lib.script import run_as_script
from stages.lib.shards import Place, read_member, stored
from stages.lib.tables import GROUPS, INDEX, SPLIT, read_table, write_table
from stages.models.saved import SavedModel
from stages.statistics import curves
from stages.statistics.classes import judge_classes
from stages.statistics.figures import Settings
from stages.statistics.predictions import (
    KEYS,
    choose_rows,
    class_predictions,
    rating_predictions,
    schema_of,
)
from stages.statistics.ratings import judge_ratings

RAW = Path("data/raw")
MODEL = Path("data/model")
LABELS = Path("data/dedupe/groups.parquet")
SPLITS = Path("data/split.parquet")
TARGET = Path("data/predictions.parquet")
METRICS = Path("metrics/evaluate.json")
PLOTS = Path("metrics/plots/evaluate")

GOOD = "above the cutoff", "not above"  # the two sides of a rating, as the confusion shows them


def choose_positive(classes: tuple[str, ...], wanted: str | None) -> str | None:
    """Return the class to find: the wanted one, the last by name of two, None of several.

    Raises UserError for a class that the model does not know.
    """
    if wanted is not None and wanted not in classes:
        raise UserError(
            f"evaluate.positive_class in params.yaml: expected one of the model's classes"
            f" {', '.join(sorted(classes))}, or null; got {wanted!r}"
        )
    return wanted or (max(classes) if len(classes) == 2 else None)


def judge(predictions: pd.DataFrame, model: SavedModel, params: EvaluateParams, seed: int
          ) -> MetricTree:  # fmt: skip
    """Return every figure of the predictions."""
    settings = Settings(params.confidence, params.bootstrap, params.prevalence, seed)
    test, validation = (predictions[predictions["split"] == s] for s in ("test", "validation"))
    if model.scale is not None:
        return judge_ratings(test, validation, params.cutoff, model.scale.bins, settings)
    positive = choose_positive(model.classes, params.positive_class)
    return judge_classes(test, validation, model.classes, positive, settings)


def draw(predictions: pd.DataFrame, model: SavedModel, params: EvaluateParams
         ) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return the rows of each plot of the test split, by name."""
    test = predictions[predictions["split"] == "test"]
    pairs = pd.DataFrame(columns=curves.PREDICTIONS)
    if model.scale is not None:
        target, predicted = (test[name].to_numpy(np.float64) for name in curves.PREDICTIONS)
        sides = {GOOD[0]: (target > params.cutoff, predicted)}
        calibration = [curves.calibration_rows("mean score", predicted, target)]
        pairs = curves.sample_rows(test, curves.PREDICTIONS)
        test = test.assign(
            target_label=np.where(target > params.cutoff, *GOOD),
            predicted_label=np.where(predicted > params.cutoff, *GOOD),
        )
    else:
        positive = choose_positive(model.classes, params.positive_class)
        sides = {
            name: (np.asarray(test["target_label"] == name), test[f"probability_{name}"].to_numpy())
            for name in ([positive] if positive else model.classes)
        }
        calibration = [
            curves.calibration_rows(name, score, is_class.astype(np.float64))
            for name, (is_class, score) in sides.items()
        ]
    roc = [curves.roc_rows(name, *side) for name, side in sides.items()]
    return {
        "roc": curves.join_rows(roc, curves.ROC),
        "predictions": pairs,
        "confusion": curves.sample_rows(test, curves.CONFUSION),
        "calibration": curves.join_rows(calibration, curves.CALIBRATION),
    }


def predict(root: Path, model: SavedModel) -> pd.DataFrame:
    """Return the prediction table of the labelled images of validation and test."""
    splits = read_table(root / SPLITS, SPLIT)
    rows = choose_rows(read_table(root / LABELS, GROUPS), splits, model.task)
    outputs = model.predict(read_images(root / RAW, rows["key"].tolist()))
    if model.scale is not None:
        return rating_predictions(rows, outputs, model.scale)
    return class_predictions(rows, outputs, model.classes)


def read_images(folder: Path, keys: list[str]) -> Iterator[Pixels]:
    """Yield the pixels of each key in turn, one image in memory at a time."""
    members = stored(read_table(folder / "index.parquet", INDEX)).set_index("key")
    progress = Progress("evaluate", len(keys))
    for place in members.loc[keys].itertuples(index=False):
        yield decode(read_member(folder, Place(place.shard, int(place.offset), int(place.size))))
        progress.advance(1)
    progress.close(kept=len(keys), rejected={})


def run(root: Path, params: Params) -> None:
    """Write predictions, metrics and plots; all of them empty for the task `none`."""
    model = SavedModel.load(root / MODEL)
    if model.task == "none":
        predictions, metrics = pd.DataFrame(columns=KEYS), {"task": "none"}
        plots = {name: pd.DataFrame(columns=columns) for name, columns in curves.PLOTS.items()}
    else:
        predictions = predict(root, model)
        metrics = judge(predictions, model, params.evaluate, params.seed)
        plots = draw(predictions, model, params.evaluate)
    write_table(predictions, root / TARGET, schema_of(predictions))
    write_metrics(root / METRICS, metrics)
    for name, rows in plots.items():
        write_text(root / PLOTS / f"{name}.csv", to_csv(rows))


if __name__ == "__main__":
    run_as_script(run)
