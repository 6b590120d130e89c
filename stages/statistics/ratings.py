"""What a model of ratings is worth: from its predictions to a tree of figures.

A prediction row holds `split_group`, `target_mean`, `predicted_mean`, and per score bin k from 1
`bin_k` (predicted) and `target_bin_k` (null where only the mean is known). An image is positive
(good) when its target mean is above the cutoff; the score is the predicted mean.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.lib.files import MetricTree
from stages.statistics import agreement
from stages.statistics.emd import emd_r1, emd_r2
from stages.statistics.figures import (
    Settings,
    auc_figure,
    bootstrap_figure,
    group_counts,
    share_figure,
)
from stages.statistics.operating import choose_threshold, operating_point

Reals = NDArray[np.float64]


def judge_ratings(
    test: pd.DataFrame, validation: pd.DataFrame, cutoff: float, bins: int, settings: Settings
) -> MetricTree:
    """Return every figure of the test rows; the operating point is chosen on validation."""
    target, predicted = _column(test, "target_mean"), _column(test, "predicted_mean")
    groups, good = test["split_group"].to_numpy(), target > cutoff
    chosen, how = choose_threshold(
        _column(validation, "target_mean") > cutoff,
        _column(validation, "predicted_mean"),
        float(np.nextafter(cutoff, np.inf)),
    )
    return {
        "task": "rating",
        "n": len(test),
        "n_validation": len(validation),
        "positives": int(good.sum()),
        "cutoff": cutoff,
        **group_counts(groups),
        **_agreement(target, predicted, groups, settings),
        **_distances(test, bins, settings),
        "auc": auc_figure("auc", good, predicted, groups, settings),
        "accuracy": share_figure((predicted > cutoff) == good, groups, settings),
        "majority_share": float(max(good.mean(), 1 - good.mean())) if len(test) else None,
        "operating_point": {
            "chosen_by": how,
            **operating_point(chosen, good, predicted, groups, settings),
        },
    }


def _agreement(
    target: Reals, predicted: Reals, groups: NDArray[np.object_], settings: Settings
) -> MetricTree:
    pair = (target, predicted)
    figures = {
        "srcc": (agreement.srcc(*pair), agreement.weighted_srcc(*pair)),
        "plcc": (agreement.plcc(*pair), agreement.weighted_plcc(*pair)),
        "rmse": (agreement.rmse(*pair), agreement.weighted_rmse(*pair)),
    }
    return {
        name: bootstrap_figure(name, value, statistic, groups, settings)
        for name, (value, statistic) in figures.items()
    }


def _distances(test: pd.DataFrame, bins: int, settings: Settings) -> MetricTree:
    """Return both distances over the rows whose histogram is known: a mean alone has no CDF."""
    known = test[test["target_bin_1"].notna().to_numpy(bool)]
    target = known[[f"target_bin_{k}" for k in range(1, bins + 1)]].to_numpy(np.float64)
    predicted = known[[f"bin_{k}" for k in range(1, bins + 1)]].to_numpy(np.float64)
    groups = known["split_group"].to_numpy()
    tree: MetricTree = {}
    for name, distance in (("emd_r1", emd_r1), ("emd_r2", emd_r2)):
        each = distance(target, predicted)  # (n,)
        value = float(each.mean()) if each.size else None
        tree[name] = bootstrap_figure(
            name, value, agreement.weighted_mean(each), groups, settings
        ) | {"n": len(known)}
        if value is None:
            tree[name]["note"] = "no test image has a histogram of ratings"
    return tree


def _column(rows: pd.DataFrame, name: str) -> Reals:
    return np.asarray(rows[name], np.float64)
