"""What train and evaluate wrote, their plots' data too, as the page's last sections show it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from darkroom.report import charts, evaluation_charts, metric_tables, metric_values
from darkroom.report.formatting import percent
from darkroom.report.params import ReportParams

MAX_CLASSES = 12  # more are not read but searched: the tables are in data/ and metrics/

# what has a table or chart of its own, beside the table of metrics of the whole test split
OWN_TABLES = ("operating_points", "classes", "ranges")


def read_plot(path: Path) -> pd.DataFrame:
    """Return a plot's data; an empty frame where the stage had nothing to plot."""
    if not path.exists() or not path.stat().st_size:
        return pd.DataFrame()
    # a class may be called NA, None or 01
    return pd.read_csv(path, dtype={"class": str}, keep_default_na=False, na_values=[""])


def finite_rows(frame: pd.DataFrame, *columns: str) -> list[Any]:
    """Return columns as points or intervals, without rows that lack one; none if a column does."""
    if not set(columns) <= set(frame.columns):
        return []
    rows = frame[list(columns)].astype(float).itertuples(index=False, name=None)
    return [row for row in rows if all(map(math.isfinite, row))]


def curves_by_class(frame: pd.DataFrame, x: str, y: str) -> dict[str, list[Any]]:
    """Return the points of each class of a plot, in the order of the file."""
    if "class" not in frame:
        return {"": finite_rows(frame, x, y)} if len(frame) else {}
    return {str(name): finite_rows(part, x, y) for name, part in frame.groupby("class", sort=False)}


def describe_training(plots: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of train's history and its metrics."""
    history = read_plot(plots / "train/history.csv")
    named = {"training": "loss", "validation": "val_loss"}
    series = {name: finite_rows(history, "epoch", y) for name, y in named.items()}
    series = {name: points for name, points in series.items() if points}
    phase_starts: list[float] = []
    if "phase" in history:
        first = history.groupby("phase", sort=False)["epoch"].min()
        phase_starts = [float(epoch) - 0.5 for epoch in first.iloc[1:]]
    chart = charts.curves_chart(series, "epoch", "loss", phase_starts) if series else None
    scalars = metric_values.list_scalars(metrics.get("train", {}))
    return {"chart": chart, "names": list(series), "phase_starts": phase_starts, "facts": scalars}


def describe_test(
    plots: Path, predictions: pd.DataFrame, metrics: Mapping[str, Any], params: ReportParams
) -> dict[str, Any]:
    """Return the metrics of the test split, their charts, and what to be careful about."""
    tree = metrics.get("evaluate", {})
    whole = {name: value for name, value in tree.items() if name not in OWN_TABLES}
    listed = metric_values.list_metrics(whole)
    return {
        "metrics": listed,
        "auc": next((m for m in listed if m.name == "AUC"), None),
        "notes": metric_values.list_notes(tree),
        "illustrative": tree.get("interval_reliable") is False,
        "facts": metric_values.list_scalars(whole),
        "confidence": percent(params.evaluate.confidence),
        "operating": metric_tables.operating_points(tree),
        "by_class": metric_tables.classes(tree),
        "by_range": metric_tables.ranges(tree),
        **_binary_task(plots, tree, params),
        **_calibration(plots, tree, params),
        "scores": _scores_chart(predictions, tree, params),
        **_confusion_matrix(predictions),
    }


def _binary_task(plots: Path, tree: Mapping[str, Any], params: ReportParams) -> dict[str, Any]:
    """Return the charts of the binary task: positives against the rest."""
    roc = read_plot(plots / "evaluate/roc.csv")
    curves = curves_by_class(roc, "false_positive_rate", "true_positive_rate")
    not_drawn = max(len(curves) - MAX_CLASSES, 0)
    curves = dict(list(curves.items())[:MAX_CLASSES])
    band = finite_rows(roc, "false_positive_rate", "low", "high")
    points = _operating_points(tree)
    return {
        "roc": evaluation_charts.roc_chart(curves, band, points) if curves else None,
        "roc_band": bool(band) and len(curves) == 1,
        "roc_bands": bool(band),
        "not_drawn": not_drawn,
        "roc_classes": list(curves) if len(curves) > 1 else [],
        "predictive": _predictive(plots, tree, params),
        "positive": _positive(tree, params),
        "test_prevalence": _test_prevalence(tree),
        "prevalence": params.evaluate.prevalence,
    }


def _positive(tree: Mapping[str, Any], params: ReportParams) -> str:
    """Return what the positive side is, in words."""
    if params.train.task == "rating":
        return f"a mean score above {params.evaluate.cutoff:g}"
    if params.train.task == "one_class":
        return f"an outlier: any label but {params.train.normal_class}"
    return f"the class {tree.get('positive_class')}"


def _operating_points(tree: Mapping[str, Any]) -> list[evaluation_charts.OperatingPoint]:
    """Return where the operating points lie on the curve, with their numbers in the table."""
    operating_points = []
    for number, point in enumerate(metric_tables.ordered_points(tree).values(), 1):
        values = [metric_values.value_of(point, name) for name in ("specificity", "sensitivity")]
        if None not in values:
            at = evaluation_charts.OperatingPoint(str(number), 1 - values[0], values[1])
            operating_points.append(at)
    return operating_points


def _predictive(
    plots: Path, tree: Mapping[str, Any], params: ReportParams
) -> list[tuple[str, Markup]]:
    """Return a chart of the predictive values per operating point; equal ones share one."""
    table = read_plot(plots / "evaluate/prevalence.csv")
    if "point" not in table:
        return []
    parts = {metric_values.class_name(str(name)): part for name, part in table.groupby("point")}
    equal: dict[tuple[float, ...], list[tuple[str, pd.DataFrame]]] = {}
    for number, key in enumerate(metric_tables.ordered_points(tree), 1):
        if key in parts:
            columns = parts[key][["prevalence", "ppv", "npv"]].astype(float).fillna(-1)
            named = (f"{number}. {metric_tables.point_name(key)}", parts[key])
            equal.setdefault(tuple(columns.to_numpy().ravel()), []).append(named)
    predictive = []
    for same in equal.values():
        name, part = ", ".join(name for name, _ in same), same[0][1]
        values = [
            (finite_rows(part, "prevalence", value),
             finite_rows(part, "prevalence", f"{value}_low", f"{value}_high"))
            for value in ("ppv", "npv")
        ]  # fmt: skip
        chart = evaluation_charts.prevalence_chart(
            values, _test_prevalence(tree), params.evaluate.prevalence, name
        )
        predictive.append((name, chart))
    return predictive


def _test_prevalence(tree: Mapping[str, Any]) -> float | None:
    """Return the share of positives in the test split."""
    positives, images = tree.get("positives"), tree.get("n")
    return positives / images if images and positives is not None else None


def _calibration(plots: Path, tree: Mapping[str, Any], params: ReportParams) -> dict[str, Any]:
    """Return the charts of what was predicted against what was observed."""
    table = read_plot(plots / "evaluate/calibration.csv")
    pairs = read_plot(plots / "evaluate/predictions.csv")
    bins = dict(list(curves_by_class(table, "predicted", "observed").items())[:MAX_CLASSES])
    dots = finite_rows(pairs, "target_mean", "predicted_mean")
    rating, scale = params.train.task == "rating", params.train.scale
    ends = (scale.low, scale.high) if rating else (0.0, 1.0)
    bounds = finite_rows(table, "predicted", "low", "high")
    named = {metric.name: metric for metric in metric_values.list_metrics(tree)}
    return {
        "calibration": evaluation_charts.calibration_chart(bins, bounds, *ends) if bins else None,
        "calibration_classes": list(bins) if len(bins) > 1 else [],
        "calibration_bounds": bool(bounds) and len(bins) == 1,
        "calibration_metrics": [
            named[name] for name in ("Brier score", "calibration error") if name in named
        ],
        "scatter": evaluation_charts.scatter_chart(dots, *ends, params.evaluate.cutoff)
        if dots and rating else None,
        "bias": _bias_chart(tree, *ends),
    }  # fmt: skip


def _bias_chart(tree: Mapping[str, Any], low: float, high: float) -> Markup | None:
    points, bounds = [], []
    for start, end, metrics in metric_tables.ordered_ranges(tree):
        for metric in metric_values.list_metrics({"bias": metrics.get("bias", {})}):
            if metric.value is not None:
                points.append(((start + end) / 2, metric.value))
            if metric.low is not None and metric.high is not None:
                bounds.append(((start + end) / 2, metric.low, metric.high))
    return evaluation_charts.bias_chart(points, bounds, low, high) if points else None


def _scores_chart(
    predictions: pd.DataFrame, tree: Mapping[str, Any], params: ReportParams
) -> Markup | None:
    """Return how the outlier scores of the test split lie, with the thresholds."""
    if not {"split", "outlier_score", "target_label"} <= set(predictions.columns):
        return None
    test = predictions[predictions["split"] == "test"]
    test = test[np.isfinite(test["outlier_score"].astype(float))]
    if test.empty:
        return None
    normal, score = test["target_label"] == params.train.normal_class, test["outlier_score"]
    thresholds = [
        (number, float(point["threshold"]))
        for number, point in enumerate(metric_tables.ordered_points(tree).values(), 1)
        if point.get("threshold") is not None
    ]
    return evaluation_charts.scores_chart(score[normal], score[~normal], thresholds)


def _confusion_matrix(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return how often each target class (row) was predicted as each class (column)."""
    if not {"split", "target_label", "predicted_label"} <= set(predictions.columns):
        return {"matrix": None, "classes": 0}
    test = predictions.loc[predictions["split"] == "test", ["target_label", "predicted_label"]]
    cells = test.dropna().value_counts()
    classes = sorted({name for both in cells.index for name in both})
    counts = [[int(cells.get((t, p), 0)) for p in classes] for t in classes]
    matrix = {"classes": classes, "counts": counts, "most": cells.max()}  # the darkest cell
    return {
        "matrix": matrix if 0 < len(classes) <= MAX_CLASSES else None,
        "classes": len(classes),
    }
