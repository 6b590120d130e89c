"""Judge the model on the test split: predictions, figures with intervals, plots.

In: `data/model/`, `data/raw/` (bytes), `data/dedupe/groups.parquet` (labels), `data/split.parquet`.
Out: `data/predictions.parquet` (one row per labelled image of validation and test),
`metrics/evaluate.json`, and `metrics/plots/evaluate/*.csv`: `roc`, `prevalence`, `predictions`,
`ranges`, `confusion`, `calibration`.

Rules: every figure is of the test split. Validation chooses the operating points alone. Resampling
draws split groups, never single images of one group. What is undefined is null with a note. With
the task `none` all outs are written, and empty. Alone: `python -m stages.evaluate`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from darkroom.core.csv import to_csv
from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree, write_metrics, write_text
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.scale import Scale
from darkroom.core.params.section import StageParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.core.shards import Place, read_member, stored
from darkroom.core.tables import GROUPS, INDEX, SPLIT, read_table, write_table
from darkroom.evaluation import binary, classification, one_class, plot_tables, rating
from darkroom.evaluation.calibration import reliability_of_means, reliability_of_shares
from darkroom.evaluation.classification import judge_classes
from darkroom.evaluation.metrics import Settings
from darkroom.evaluation.one_class import judge_one_class
from darkroom.evaluation.predictions import (
    KEYS,
    check_outputs,
    check_rows,
    choose_rows,
    class_predictions,
    outlier_predictions,
    rating_predictions,
    schema_of,
)
from darkroom.evaluation.rating import judge_ratings
from darkroom.images.decode import Pixels, decode_at_least
from darkroom.models.inputs import prefetch
from darkroom.models.saved import SavedModel

RAW = Path("data/raw")
MODEL = Path("data/model")
LABELS = Path("data/dedupe/groups.parquet")
SPLITS = Path("data/split.parquet")
TARGET = Path("data/predictions.parquet")
METRICS = Path("metrics/evaluate.json")
PLOTS = Path("metrics/plots/evaluate")

GOOD = "above the cutoff", "not above"  # the two sides of a rating, as the confusion shows them


class Params(StageParams):
    """The sections of params.yaml that evaluate reads."""

    seed: int
    evaluate: EvaluateParams


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


def settings_of(params: EvaluateParams, seed: int) -> Settings:
    """Return how figures and intervals are made."""
    costs = (params.costs.false_positive, params.costs.false_negative) if params.costs else None
    return Settings(
        params.confidence, params.bootstrap, params.prevalence, seed,
        params.specificity, costs, params.partial_auc_below,
    )  # fmt: skip


def judge(predictions: pd.DataFrame, model: SavedModel, params: EvaluateParams, seed: int
          ) -> MetricTree:  # fmt: skip
    """Return every figure of the predictions."""
    settings = settings_of(params, seed)
    test, validation = (predictions[predictions["split"] == s] for s in ("test", "validation"))
    if model.scale is not None:
        ranges = params.score_ranges
        return judge_ratings(test, validation, params.cutoff, model.scale, ranges, settings)
    if model.normal_class is not None:
        return judge_one_class(test, validation, model.normal_class, settings)
    positive = choose_positive(model.classes, params.positive_class)
    return judge_classes(test, validation, model.classes, positive, settings)


def draw(
    predictions: pd.DataFrame,
    model: SavedModel,
    params: EvaluateParams,
    seed: int,
    figures: MetricTree,
) -> dict[str, pd.DataFrame]:
    """Return the rows of each plot of the test split, by name; `figures` are what `judge` found."""
    settings = settings_of(params, seed)
    test = predictions[predictions["split"] == "test"]
    plots = {name: pd.DataFrame(columns=columns) for name, columns in plot_tables.PLOTS.items()}
    if model.scale is not None:
        plots |= _draw_ratings(test, model.scale, params, settings, figures)
    elif model.normal_class is not None:
        side = one_class.side_of(test, model.normal_class)
        plots["roc"] = binary.roc_rows("outlier", side, settings)
    else:
        plots |= _draw_classes(test, model.classes, params, settings)
    points = figures.get("operating_points", {})
    return plots | {"prevalence": binary.prevalence_rows(points, settings)}


def _draw_ratings(
    test: pd.DataFrame,
    scale: Scale,
    params: EvaluateParams,
    settings: Settings,
    figures: MetricTree,
) -> dict[str, pd.DataFrame]:
    side = rating.side_of(test, params.cutoff)
    target, predicted = (test[name].to_numpy(np.float64) for name in plot_tables.PREDICTIONS)
    called = test.assign(
        target_label=np.where(target > params.cutoff, *GOOD),
        predicted_label=np.where(predicted > params.cutoff, *GOOD),
    )
    return {
        "roc": binary.roc_rows(GOOD[0], side, settings),
        "predictions": plot_tables.sample_rows(test, plot_tables.PREDICTIONS),
        "ranges": rating.range_rows(figures, scale, params.score_ranges, params.confidence),
        "confusion": plot_tables.sample_rows(called, plot_tables.CONFUSION),
        "calibration": reliability_of_means(
            "mean score", predicted, target, side.groups, params.confidence
        ),
    }


def _draw_classes(
    test: pd.DataFrame, names: tuple[str, ...], params: EvaluateParams, settings: Settings
) -> dict[str, pd.DataFrame]:
    positive = choose_positive(names, params.positive_class)
    shown = {
        name: classification.side_of(test, name) for name in ([positive] if positive else names)
    }
    roc = [binary.roc_rows(name, side, settings) for name, side in shown.items()]
    calibration = [
        reliability_of_shares(name, side.score, side.positive, side.groups, params.confidence)
        for name, side in shown.items()
    ]
    return {
        "roc": plot_tables.join_rows(roc, "roc"),
        "confusion": plot_tables.sample_rows(test, plot_tables.CONFUSION),
        "calibration": plot_tables.join_rows(calibration, "calibration"),
    }


def predict(root: Path, model: SavedModel, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the prediction table of the rows that `read_rows` gave.

    Images of reference classes are left out: the network has seen their class, and would flatter.
    """
    rows = rows[~rows["label"].isin(model.reference_classes)]
    outputs = model.predict(read_images(root / RAW, rows["key"].tolist(), model.min_side))
    check_outputs(outputs, model)
    if model.scale is not None:
        return rating_predictions(rows, outputs, model.scale)
    if model.normal_class is not None:
        return outlier_predictions(rows, outputs)
    return class_predictions(rows, outputs, model.classes)


def read_rows(root: Path, model: SavedModel) -> pd.DataFrame:
    """Return the images of validation and test that have a label for the model's task."""
    splits = read_table(root / SPLITS, SPLIT)
    labels = read_table(root / LABELS, GROUPS)
    rows = choose_rows(labels, splits, model.task)
    check_rows(rows, labels[labels["key"].isin(splits["key"])], model)
    return rows


def count_reference(rows: pd.DataFrame, model: SavedModel) -> MetricTree:
    """Return how many test images are of reference classes, where the model has any."""
    seen = rows["label"].isin(model.reference_classes) & (rows["split"] == "test")
    return {"reference_images_left_out": int(seen.sum())} if model.reference_classes else {}


def read_images(folder: Path, keys: list[str], min_side: int | None) -> Iterator[Pixels]:
    """Yield the pixels of each key in turn, a few of them decoded ahead on all cores."""
    members = stored(read_table(folder / "index.parquet", INDEX)).set_index("key").loc[keys]
    places = map(Place, members["shard"], map(int, members["offset"]), map(int, members["size"]))
    progress = Progress("evaluate", len(keys))
    for pixels in prefetch(
        lambda place: decode_at_least(read_member(folder, place), min_side), places
    ):
        yield pixels
        progress.advance(1)
    progress.close(kept=len(keys), rejected={})


def run(root: Path, params: Params) -> None:
    """Write predictions, metrics and plots; all of them empty for the task `none`."""
    model = SavedModel.load(root / MODEL)
    if model.task == "none":
        predictions, metrics = pd.DataFrame(columns=KEYS), {"task": "none"}
        plots = {name: pd.DataFrame(columns=columns) for name, columns in plot_tables.PLOTS.items()}
    else:
        rows = read_rows(root, model)
        predictions = predict(root, model, rows)
        with threadpool_limits(1):  # how many threads share a sum moves its last digits
            metrics = judge(predictions, model, params.evaluate, params.seed)
            metrics |= count_reference(rows, model)
            plots = draw(predictions, model, params.evaluate, params.seed, metrics)
    write_table(predictions, root / TARGET, schema_of(predictions))
    write_metrics(root / METRICS, metrics)
    for name, drawn in plots.items():
        write_text(root / PLOTS / f"{name}.csv", to_csv(drawn))


if __name__ == "__main__":
    run_as_script(run, Params)
