"""What train and evaluate wrote, turned into what the page's last sections show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stages.lib.params import Params
from stages.pages import charts, results

MOST_CLASSES = 12  # more are not read but searched: the tables are in data/ and metrics/


def describe_training(plots: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of train's history and its metrics."""
    history = results.read_plot(plots / "train/history.csv")
    named = {"training": "loss", "validation": "val_loss"}
    series = {name: results.points(history, "epoch", y) for name, y in named.items()}
    series = {name: points for name, points in series.items() if points}
    begins: list[float] = []
    if "phase" in history:
        first = history.groupby("phase", sort=False)["epoch"].min()
        begins = [float(epoch) - 0.5 for epoch in first.iloc[1:]]
    chart = charts.curves_chart(series, "epoch", "loss", begins) if series else None
    found = results.facts(metrics.get("train", {}))
    return {"chart": chart, "names": list(series), "begins": begins, "facts": found}


def describe_test(
    plots: Path, predictions: pd.DataFrame, metrics: Mapping[str, Any], params: Params
) -> dict[str, Any]:
    """Return the measures on the test split, their charts, and what to be careful about."""
    tree = dict(metrics.get("evaluate", {}))
    classes = {"class": tree.pop("classes", {})}
    measures = results.measures(tree)
    return {
        "measures": measures,
        "class_measures": results.measures(classes),
        "auc": next((m for m in measures if m.name == "AUC"), None),
        "notes": results.notes(tree),
        "illustrative": tree.get("interval_reliable") is False,
        "facts": results.facts(tree),
        "confidence": f"{params.evaluate.confidence * 100:g} %",
        **_drawings(plots, tree, params),
        **_matrix(predictions),
    }


def _drawings(plots: Path, tree: Mapping[str, Any], params: Params) -> dict[str, Any]:
    roc = results.read_plot(plots / "evaluate/roc.csv")
    calibration = results.read_plot(plots / "evaluate/calibration.csv")
    pairs = results.read_plot(plots / "evaluate/predictions.csv")
    curves = results.curves(roc, "false_positive_rate", "true_positive_rate")
    curves = dict(list(curves.items())[:MOST_CLASSES])
    bins = results.curves(calibration, "predicted", "observed")
    dots = results.points(pairs, "target_mean", "predicted_mean")
    rating, scale = params.train.task == "rating", params.train.scale
    ends = (scale.low, scale.high) if rating else (0.0, 1.0)
    return {
        "roc": charts.roc_chart(curves, _operating(tree)) if curves else None,
        "roc_classes": list(curves) if len(curves) > 1 else [],
        "calibration": charts.calibration_chart(next(iter(bins.values())), *ends)
        if len(bins) == 1 else None,
        "scatter": charts.scatter_chart(dots, *ends, params.evaluate.cutoff)
        if dots and rating else None,
    }  # fmt: skip


def _operating(tree: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return where the operating point lies on the curve, if there is one."""
    point = tree.get("operating_point", {})
    values = [point.get(name, {}).get("value") for name in ("specificity", "sensitivity")]
    return None if None in values else (1 - values[0], values[1])


def _matrix(predictions: pd.DataFrame) -> dict[str, Any]:
    test = predictions[predictions["split"] == "test"] if "split" in predictions else predictions
    matrix = results.confusion(test)
    classes = len(matrix.classes) if matrix else 0
    return {"matrix": matrix if classes <= MOST_CLASSES else None, "classes": classes}
