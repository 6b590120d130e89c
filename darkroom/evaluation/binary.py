"""What a model is worth that tells positives from the rest, whatever its task calls them.

Ratings have a cutoff, two classes a positive one, one class its outliers: each gives a `Side` of
test and one of validation.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from darkroom.core.files import MetricTree
from darkroom.evaluation.metrics import (
    Settings,
    Side,
    auc_figure,
    interval_name,
    partial_auc_figure,
)
from darkroom.evaluation.operating_points import Default, at_prevalence, operating_points
from darkroom.evaluation.roc import roc_curve
from darkroom.evaluation.roc_band import sensitivity_band

MOST_POINTS = 500  # of one curve
BETWEEN: NDArray[np.float64] = np.linspace(0, 1, 51)  # false positive rates, for the band's shape
PREVALENCES: NDArray[np.float64] = expit(np.linspace(logit(0.001), logit(0.999), 61))

ROC = ["class", "false_positive_rate", "true_positive_rate", "threshold", "low", "high"]
PREVALENCE = [
    "point", "prevalence", "ppv", "ppv_low", "ppv_high", "npv", "npv_low", "npv_high",
]  # fmt: skip


def judge_side(
    test: Side, validation: Side, otherwise: Default | None, settings: Settings
) -> MetricTree:
    """Return the figures of a positive side; operating points as `operating_points` has them."""
    return {
        "positives": int(test.positive.sum()),
        "auc": auc_figure(test, settings),
        "partial_auc": partial_auc_figure("partial_auc", test, settings),
        "operating_points": operating_points(test, validation, otherwise, settings),
    }


def roc_rows(name: str, side: Side, settings: Settings) -> pd.DataFrame:
    """Return the corners of one curve with its band; no rows where a class is missing.

    Corners are thinned evenly. The first threshold, infinite, is null: a plot has no place for it.
    So it is for points on the straight lines between corners, where the band is not straight.
    """
    curve = roc_curve(side.positive, side.score)
    if curve is None:
        return pd.DataFrame(columns=ROC)
    corners = len(curve.threshold)
    count = min(corners, MOST_POINTS - BETWEEN.size)
    kept = np.unique(np.linspace(0, corners - 1, count).round().astype(int))
    threshold = np.where(np.isfinite(curve.threshold), curve.threshold, np.nan)[kept]
    across, up = curve.false_positive_rate[kept], curve.true_positive_rate[kept]
    between = np.setdiff1d(BETWEEN.round(9), across.round(9))
    order = np.argsort(np.append(across, between), kind="stable")
    up = np.append(up, np.interp(between, across, up))[order]
    threshold = np.append(threshold, np.full(between.size, np.nan))[order]
    across = np.append(across, between)[order]
    ends = sensitivity_band(side, across, settings.confidence)
    return pd.DataFrame(dict(zip(ROC, [name, across, up, threshold, *ends], strict=True)))


def prevalence_rows(points: MetricTree, settings: Settings) -> pd.DataFrame:
    """Return each operating point's predictive values over prevalence, evenly spaced in log odds.

    `points` is what `operating_points` returned.
    """
    ends = interval_name(settings.confidence)
    rows = []
    for point, tree in points.items():
        for prevalence in PREVALENCES:
            found = at_prevalence(tree, float(prevalence), settings.confidence)
            values = [
                (found[name]["value"], found[name][ends]["low"], found[name][ends]["high"])
                for name in ("ppv", "npv")
            ]
            rows.append((point, prevalence, *values[0], *values[1]))
    return pd.DataFrame(rows, columns=PREVALENCE)
