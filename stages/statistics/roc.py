"""The receiver operating characteristic: the curve, the area below it, and points on it.

An image counts as positive when its score is at or above the threshold.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from stages.statistics.agreement import Statistic, ties

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Curve(NamedTuple):
    """Points (m,) from (0, 0) to (1, 1); the first threshold is infinite: nothing is positive."""

    false_positive_rate: Reals
    true_positive_rate: Reals
    threshold: Reals


def roc_curve(positive: Flags, score: Reals) -> Curve | None:
    """Return the corners of the curve of (n,) scores; None when either class is missing."""
    if not has_both(positive):
        return None
    return Curve(*metrics.roc_curve(positive, score, drop_intermediate=True))


def has_both(positive: Flags) -> bool:
    """Return whether there are positives and negatives."""
    return bool(positive.any() and not positive.all())


def auc(positive: Flags, score: Reals) -> float | None:
    """Return the area below the curve, in [0, 1]; None when either class is missing.

    It is the chance that a positive scores above a negative, ties counting half (Hanley and
    McNeil 1982, Radiology 143:29, eq. 1).

    >>> auc(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    if not has_both(positive):
        return None
    positives, negatives = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(score)[positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def weighted_auc(positive: Flags, score: Reals) -> Statistic:
    """Return `auc` as a function of weights (resamples, n); NaN where a class has no weight.

    >>> weighted_auc(np.array([False, True]), np.array([0.1, 0.9]))(np.array([[1.0, 2.0]]))
    array([1.])
    """
    order, starts, _ = ties(score)
    is_positive = positive[order].astype(np.float64)

    def statistic(weights: Reals) -> Reals:
        drawn = weights[:, order]
        up = np.add.reduceat(drawn * is_positive, starts, axis=1)  # (b, distinct scores)
        down = np.add.reduceat(drawn * (1 - is_positive), starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        with np.errstate(invalid="ignore"):
            return np.asarray((up * below).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1)))

    return statistic


def youden_threshold(positive: Flags, score: Reals) -> float | None:
    """Return the score that maximises sensitivity + specificity − 1; None for one class.

    Of equal maxima the highest threshold wins, which calls fewest positive. None also when no
    threshold does better than chance. Source: Youden 1950, Cancer 3:32.

    >>> youden_threshold(np.array([False, False, True]), np.array([0.1, 0.4, 0.7]))
    0.7
    """
    curve = roc_curve(positive, score)
    if curve is None:
        return None
    gain = curve.true_positive_rate - curve.false_positive_rate
    best = int(np.argmax(gain))
    return float(curve.threshold[best]) if gain[best] > 0 else None
