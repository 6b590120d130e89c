"""Metrics of a binary task: positives against the rest.

Positive are ratings above the cutoff, images of the positive class, outliers, or one class of
several. Each gives `BinaryScores` of test and of validation.
"""

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from darkroom.core.files import MetricTree
from darkroom.evaluation import metrics
from darkroom.evaluation.metrics import BinaryScores, Settings
from darkroom.evaluation.operating_points import DefaultThreshold, at_prevalence, operating_points
from darkroom.evaluation.roc import roc_curve
from darkroom.evaluation.roc_band import sensitivity_band
from darkroom.evaluation.statistic import Reals

MAX_POINTS = 500  # of one curve
BAND_RATES: Reals = np.linspace(0, 1, 51)  # false positive rates, for the band's shape
PREVALENCES: Reals = expit(np.linspace(logit(0.001), logit(0.999), 61))

ROC = ["class", "false_positive_rate", "true_positive_rate", "threshold", "low", "high"]
PREVALENCE = [
    "point", "prevalence", "ppv", "ppv_low", "ppv_high", "npv", "npv_low", "npv_high",
]  # fmt: skip


def evaluate_binary(
    test: BinaryScores,
    validation: BinaryScores,
    default: DefaultThreshold | None,
    settings: Settings,
) -> MetricTree:
    """Return the metrics of a binary task; `default` is that of `operating_points`."""
    return {
        "positives": int(test.positive.sum()),
        "auc": metrics.auc_metric(test, settings),
        "partial_auc": metrics.partial_auc_metric(test, settings),
        "operating_points": operating_points(test, validation, default, settings),
    }


def roc_rows(name: str, task: BinaryScores, settings: Settings) -> pd.DataFrame:
    """Return the corners of one curve with its band; no rows where a class is missing.

    Corners are thinned evenly. The threshold is null where it is infinite, in the first, and on
    the straight lines between corners, which get points of their own, as the band is not straight.
    """
    curve = roc_curve(task.positive, task.score)
    if curve is None:
        return pd.DataFrame(columns=ROC)
    corners = len(curve.threshold)
    count = min(corners, MAX_POINTS - BAND_RATES.size)
    kept = np.unique(np.linspace(0, corners - 1, count).round().astype(int))
    threshold = np.where(np.isfinite(curve.threshold), curve.threshold, np.nan)[kept]
    fpr, tpr = curve.false_positive_rate[kept], curve.true_positive_rate[kept]
    added = np.setdiff1d(BAND_RATES.round(9), fpr.round(9))
    order = np.argsort(np.append(fpr, added), kind="stable")
    tpr = np.append(tpr, np.interp(added, fpr, tpr))[order]
    threshold = np.append(threshold, np.full(added.size, np.nan))[order]
    fpr = np.append(fpr, added)[order]
    band = sensitivity_band(task, fpr, settings.confidence)
    return pd.DataFrame(dict(zip(ROC, [name, fpr, tpr, threshold, *band], strict=True)))


def prevalence_rows(points: MetricTree, settings: Settings) -> pd.DataFrame:
    """Return each operating point's predictive values over prevalence, evenly spaced in log odds.

    `points` is what `operating_points` returned.
    """
    rows, confidence = [], settings.confidence
    for point, tree in points.items():
        for prevalence in PREVALENCES:
            values = at_prevalence(tree, float(prevalence), confidence)
            ppv, npv = (metrics.limits(values[name], confidence) for name in ("ppv", "npv"))
            rows.append((point, prevalence, *ppv, *npv))
    return pd.DataFrame(rows, columns=PREVALENCE)
