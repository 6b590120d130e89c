"""The tables of the plots of a model's predictions.

Keys are digests, so that the first rows by key are a random sample that never changes; large test
splits are drawn by such a sample.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from darkroom.core.files import MetricTree
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.scale import Scale
from darkroom.evaluation import classification, one_class, rating
from darkroom.evaluation.binary import PREVALENCE, ROC, prevalence_rows, roc_rows
from darkroom.evaluation.calibration import CALIBRATION, reliability
from darkroom.evaluation.intervals import mean_interval, proportion_interval
from darkroom.evaluation.metrics import Settings
from darkroom.models.saved import SavedModel

MAX_ROWS = 2000  # of a plot: more cannot be distinguished, and git keeps each version

PREDICTIONS = ["target_mean", "predicted_mean"]
CONFUSION = ["target_label", "predicted_label"]
PLOTS = {
    "roc": ROC, "prevalence": PREVALENCE, "predictions": PREDICTIONS, "ranges": rating.RANGES,
    "confusion": CONFUSION, "calibration": CALIBRATION,
}  # fmt: skip
GOOD = "above the cutoff", "not above"  # the two classes of ratings in the confusion matrix


def empty_plots() -> dict[str, pd.DataFrame]:
    """Return each plot's table without rows, by name."""
    return {name: pd.DataFrame(columns=columns) for name, columns in PLOTS.items()}


def draw_plots(
    predictions: pd.DataFrame,
    model: SavedModel,
    params: EvaluateParams,
    seed: int,
    metrics: MetricTree,
) -> dict[str, pd.DataFrame]:
    """Return each plot's table of the test split; `metrics` as `evaluate_predictions` has them."""
    settings = Settings.of(params, seed)
    test = predictions[predictions["split"] == "test"]
    if model.scale is not None:
        drawn = _draw_ratings(test, model.scale, settings, metrics)
    elif model.normal_class is not None:
        task = one_class.binary_scores(test, model.normal_class)
        drawn = {"roc": roc_rows("outlier", task, settings)}
    else:
        drawn = _draw_classes(test, model.classes, settings)
    points = metrics.get("operating_points", {})
    return empty_plots() | drawn | {"prevalence": prevalence_rows(points, settings)}


def _draw_ratings(
    test: pd.DataFrame, scale: Scale, settings: Settings, metrics: MetricTree
) -> dict[str, pd.DataFrame]:
    task = rating.binary_scores(test, settings.cutoff)
    target, predicted = (test[name].to_numpy(np.float64) for name in PREDICTIONS)
    labels = test.assign(
        target_label=np.where(target > settings.cutoff, *GOOD),
        predicted_label=np.where(predicted > settings.cutoff, *GOOD),
    )
    return {
        "roc": roc_rows(GOOD[0], task, settings),
        "predictions": sample_rows(test, PREDICTIONS),
        "ranges": rating.range_rows(metrics, scale, settings),
        "confusion": sample_rows(labels, CONFUSION),
        "calibration": reliability(
            "mean score", predicted, target, task.groups, settings.confidence, mean_interval
        ),
    }


def _draw_classes(
    test: pd.DataFrame, classes: Sequence[str], settings: Settings
) -> dict[str, pd.DataFrame]:
    positive = classification.choose_positive(classes, settings.positive_class)
    names = [positive] if positive else classes
    tasks = {name: classification.binary_scores(test, name) for name in names}
    roc = [roc_rows(name, task, settings) for name, task in tasks.items()]
    calibration = [
        reliability(
            name, task.score, task.positive, task.groups, settings.confidence, proportion_interval
        )
        for name, task in tasks.items()
    ]
    return {
        "roc": _join_rows(roc, "roc"),
        "confusion": sample_rows(test, CONFUSION),
        "calibration": _join_rows(calibration, "calibration"),
    }


def sample_rows(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of the first `MAX_ROWS` rows by key."""
    return rows.sort_values("key").head(MAX_ROWS)[list(columns)].reset_index(drop=True)


def _join_rows(parts: Sequence[pd.DataFrame], plot: str) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=PLOTS[plot])
