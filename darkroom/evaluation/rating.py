"""Metrics of a model of ratings, from its predictions.

A prediction row holds `split_group`, mean and standard deviation as `target_mean`,
`predicted_mean`, `target_std` (null where unknown), `predicted_std`, and per score bin k from 1
`bin_k` (predicted) and `target_bin_k` (null where only the mean is known). An image is positive
(good) when its target mean is above the cutoff; the score is the predicted mean.
"""

import itertools

import numpy as np
import pandas as pd

from darkroom.core.files import MetricTree
from darkroom.core.params.scale import Scale
from darkroom.evaluation import agreement, metrics
from darkroom.evaluation.binary import evaluate_binary
from darkroom.evaluation.emd import emd_r1, emd_r2
from darkroom.evaluation.intervals import MIN_GROUPS
from darkroom.evaluation.metrics import BinaryScores, Settings
from darkroom.evaluation.operating_points import DefaultThreshold
from darkroom.evaluation.statistic import Flags, Groups, Reals

RANGES = ["low", "high", "n", "rmse", "rmse_low", "rmse_high", "bias", "bias_low", "bias_high"]


def evaluate_ratings(
    test: pd.DataFrame, validation: pd.DataFrame, scale: Scale, settings: Settings
) -> MetricTree:
    """Return every metric of the test rows; operating points are chosen on validation."""
    target, predicted = _column(test, "target_mean"), _column(test, "predicted_mean")
    cutoff = settings.cutoff
    task = binary_scores(test, cutoff)
    good, groups = task.positive, task.groups
    return {
        "task": "rating",
        "n": len(test),
        "n_validation": len(validation),
        "cutoff": cutoff,
        **metrics.group_counts(groups),
        **_agreement(test, "mean", "", settings),
        "rmse": _rmse(target, predicted, groups, settings),
        **_std_agreement(test, settings),
        **_emd(test, scale.bins, settings),
        "accuracy": metrics.proportion_metric((predicted > cutoff) == good, groups, settings),
        "majority_share": float(max(good.mean(), 1 - good.mean())) if len(test) else None,
        "ranges": _ranges(test, scale, settings),
        **evaluate_binary(
            task,
            binary_scores(validation, cutoff),
            DefaultThreshold(float(np.nextafter(cutoff, np.inf)), "just above the cutoff"),
            settings,
        ),
    }


def binary_scores(rows: pd.DataFrame, cutoff: float) -> BinaryScores:
    """Return the good images against the rest, by the predicted mean."""
    good = _column(rows, "target_mean") > cutoff
    return BinaryScores(good, _column(rows, "predicted_mean"), rows["split_group"].to_numpy())


def range_edges(scale: Scale, count: int) -> list[tuple[float, float]]:
    """Return the limits of `count` equally wide ranges of the scale, closed below.

    The last one is closed on both sides.

    >>> range_edges(Scale(low=1, high=10, bins=10), 3)
    [(1.0, 4.0), (4.0, 7.0), (7.0, 10.0)]
    """
    edges = [float(edge) for edge in np.linspace(scale.low, scale.high, count + 1)]
    return list(itertools.pairwise(edges))


def range_rows(tree: MetricTree, scale: Scale, settings: Settings) -> pd.DataFrame:
    """Return the table of the metrics by range that `evaluate_ratings` returned."""
    rows = []
    for low, high in range_edges(scale, settings.score_ranges):
        errors = tree["ranges"][_range_key(low, high)]
        rmse, bias = (
            metrics.limits(errors[name], settings.confidence) for name in ("rmse", "bias")
        )
        rows.append((low, high, errors["n"], *rmse, *bias))
    return pd.DataFrame(rows, columns=RANGES)


def _range_key(low: float, high: float) -> str:
    return metrics.metric_key(f"{low:g}_to_{high:g}")


def _ranges(test: pd.DataFrame, scale: Scale, settings: Settings) -> MetricTree:
    """Return the error by range of the true mean; a range of few groups among many says so."""
    target, edges = _column(test, "target_mean"), range_edges(scale, settings.score_ranges)
    inner = [low for low, _ in edges[1:]]
    number = np.searchsorted(inner, target, side="right")
    enough = test["split_group"].nunique() >= MIN_GROUPS  # else every interval is doubted
    tree: MetricTree = {}
    for i, (low, high) in enumerate(edges):
        name, rows = _range_key(low, high), test[number == i]
        groups = int(rows["split_group"].nunique())
        tree[name] = _one_range(rows, name, settings) | {"groups": groups}
        if enough and 0 < groups < MIN_GROUPS:
            where = f"true means from {low:.3g} to {high:.3g}"
            tree[name]["note"] = f"intervals unreliable for {where}: {groups} groups"
    return tree


def _one_range(rows: pd.DataFrame, name: str, settings: Settings) -> MetricTree:
    target, predicted = _column(rows, "target_mean"), _column(rows, "predicted_mean")
    groups, error = rows["split_group"].to_numpy(), predicted - target
    return {
        "n": len(rows),
        "rmse": _rmse(target, predicted, groups, settings, name),
        "bias": metrics.mean_metric(f"bias {name}", error, groups, settings),
        "mae": metrics.mean_metric(f"mae {name}", np.abs(error), groups, settings),
        "srcc": metrics.bootstrap_metric(
            f"srcc {name}", agreement.srcc(target, predicted),
            agreement.weighted_srcc(target, predicted), groups, settings,
        ),
    }  # fmt: skip


def _agreement(rows: pd.DataFrame, of: str, prefix: str, settings: Settings) -> MetricTree:
    """Return both correlations of the predicted and the true `of`, "mean" or "std"."""
    pair = _column(rows, f"target_{of}"), _column(rows, f"predicted_{of}")
    statistics = {
        f"{prefix}srcc": (agreement.srcc(*pair), agreement.weighted_srcc(*pair)),
        f"{prefix}plcc": (agreement.plcc(*pair), agreement.weighted_plcc(*pair)),
    }
    groups = rows["split_group"].to_numpy()
    return {
        name: metrics.bootstrap_metric(name, value, statistic, groups, settings)
        for name, (value, statistic) in statistics.items()
    }


def _std_agreement(test: pd.DataFrame, settings: Settings) -> MetricTree:
    """Return the correlations of the standard deviations, over the rows that have a true one."""
    known = test[test["target_std"].notna().to_numpy(bool)]
    tree = _agreement(known, "std", "std_", settings)
    return _with_count(tree, len(known), "a known standard deviation")


def _rmse(
    target: Reals, predicted: Reals, groups: Groups, settings: Settings, where: str = ""
) -> MetricTree:
    value = agreement.rmse(target, predicted)
    statistic = agreement.weighted_rmse(target, predicted)
    return metrics.bootstrap_metric(f"rmse {where}".rstrip(), value, statistic, groups, settings)


def has_histogram(rows: pd.DataFrame) -> Flags:
    """Return for which rows the votes are known, not the mean alone, which has no CDF: (n,)."""
    return np.asarray(rows["target_bin_1"].notna(), np.bool_)


def histograms(rows: pd.DataFrame, prefix: str, bins: int) -> Reals:
    """Return the bins of the target ("target_bin") or the prediction ("bin"): (n, bins)."""
    return np.asarray(rows[[f"{prefix}_{k}" for k in range(1, bins + 1)]], np.float64)


def _emd(test: pd.DataFrame, bins: int, settings: Settings) -> MetricTree:
    """Return both distances over the rows whose histogram is known."""
    known = test[has_histogram(test)]
    target, predicted = (histograms(known, prefix, bins) for prefix in ("target_bin", "bin"))
    groups = known["split_group"].to_numpy()
    tree = {
        name: metrics.mean_metric(name, distance(target, predicted), groups, settings)
        for name, distance in (("emd_r1", emd_r1), ("emd_r2", emd_r2))
    }
    return _with_count(tree, len(known), "a histogram of ratings")


def _with_count(tree: MetricTree, known: int, what: str) -> MetricTree:
    """Return the metrics with `n`, how many test images have `what`, and a note where none has."""
    added = {"n": known} | ({} if known else {"note": f"no test image has {what}"})
    return {name: metric | added for name, metric in tree.items()}


def _column(rows: pd.DataFrame, name: str) -> Reals:
    return np.asarray(rows[name], np.float64)
