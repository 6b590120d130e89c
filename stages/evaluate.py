"""Evaluate the model on the test split: predictions, metrics with intervals, plots.

In: `data/model/`, `data/raw/` (bytes), `data/dedupe/groups.parquet` (labels), `data/split.parquet`.
Out: `data/predictions.parquet` (one row per labelled image of validation and test),
`metrics/evaluate.json`, and `metrics/plots/evaluate/*.csv`: `roc`, `prevalence`, `predictions`,
`ranges`, `confusion`, `calibration`.

Rules: every metric is of the test split. Validation chooses the operating points alone. Resampling
draws split groups, never single images of one group. What is undefined is null with a note. With
the task `none` all outs are written, and empty. Alone: `python -m stages.evaluate`.
"""

from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from darkroom.core.csv import to_csv
from darkroom.core.failure_limit import count_failed
from darkroom.core.files import MetricTree, write_metrics, write_text
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.section import StageParams
from darkroom.core.script import run_as_script
from darkroom.core.tables import GROUPS, SPLIT, read_table, write_table
from darkroom.evaluation import predictions
from darkroom.evaluation.plot_tables import draw_plots, empty_plots
from darkroom.labels.labelled import select_labelled
from darkroom.models.saved import SavedModel

RAW = Path("data/raw")
MODEL = Path("data/model")
LABELS = Path("data/dedupe/groups.parquet")
SPLITS = Path("data/split.parquet")
TARGET = Path("data/predictions.parquet")
METRICS = Path("metrics/evaluate.json")
PLOTS = Path("metrics/plots/evaluate")


class Params(StageParams):
    """The sections of params.yaml that evaluate reads."""

    seed: int
    evaluate: EvaluateParams


def read_rows(root: Path, model: SavedModel) -> pd.DataFrame:
    """Return the images of validation and test that have a label for the model's task."""
    splits = read_table(root / SPLITS, SPLIT)
    labels = read_table(root / LABELS, GROUPS)
    held_out = ("validation", "test")
    rows = select_labelled(splits, labels, model.task, held_out, "data/model is of the task")
    predictions.check_classes(rows, model)
    return rows


def predict_rows(
    root: Path, model: SavedModel, rows: pd.DataFrame, failed: dict[str, str]
) -> pd.DataFrame:
    """Return the predictions for the rows that `read_rows` gave; what no longer decodes `failed`.

    Images of reference classes are left out: the network has seen their class, and would flatter.
    """
    rows = rows[~rows["label"].isin(model.reference_classes)]
    images = predictions.read_images(root / RAW, rows["key"].tolist(), model, failed)
    return predictions.predict(model, rows, images, failed)


def count_reference(rows: pd.DataFrame, model: SavedModel) -> MetricTree:
    """Return how many test images are of reference classes, where the model has any."""
    seen = rows["label"].isin(model.reference_classes) & (rows["split"] == "test")
    return {"reference_images_left_out": int(seen.sum())} if model.reference_classes else {}


def run(root: Path, params: Params) -> None:
    """Write predictions, metrics and plots; all of them empty for the task `none`."""
    model = SavedModel.load(root / MODEL)
    if model.task == "none":
        predicted, metrics = pd.DataFrame(columns=predictions.KEYS), MetricTree(task="none")
        plots = empty_plots()
    else:
        rows = read_rows(root, model)
        failed: dict[str, str] = {}
        predicted = predict_rows(root, model, rows, failed)
        with threadpool_limits(1):  # how many threads share a sum moves its last digits
            given = predicted, model, params.evaluate, params.seed
            metrics = predictions.evaluate_predictions(*given) | count_reference(rows, model)
            metrics["failed"] = count_failed("evaluate", failed)
            plots = draw_plots(*given, metrics)
    write_table(predicted, root / TARGET, predictions.schema_of(predicted))
    write_metrics(root / METRICS, metrics)
    for name, table in plots.items():
        write_text(root / PLOTS / f"{name}.csv", to_csv(table))


if __name__ == "__main__":
    run_as_script(run, Params)
