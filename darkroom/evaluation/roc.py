"""The receiver operating characteristic: the curve, the area below it, and points on it.

An image counts as positive when its score is at or above the threshold.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from darkroom.evaluation.statistic import Flags, Reals, Statistic, ranks, ties


class RocCurve(NamedTuple):
    """Points (m,) from (0, 0) to (1, 1); the first threshold is infinite: nothing is positive."""

    false_positive_rate: Reals
    true_positive_rate: Reals
    threshold: Reals


def roc_curve(positive: Flags, score: Reals) -> RocCurve | None:
    """Return the corners of the curve of (n,) scores; None when either class is missing.

    As sklearn.metrics.roc_curve, whose import takes a second: points on a straight line are left
    out.
    """
    if not has_both_classes(positive):
        return None
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), score.size - 1)  # of each tie
    true = np.cumsum(positive[order])[last]
    false = last + 1 - true
    bends = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    corners = np.concatenate([[True], bends, [True]])[-last.size :]
    true, false = (np.append(0, each[corners]) for each in (true, false))
    thresholds = np.append(np.inf, score[order][last][corners])
    return RocCurve(false / false[-1], true / true[-1], thresholds)


def has_both_classes(positive: Flags) -> bool:
    """Return whether there are positives and negatives."""
    return bool(positive.any() and not positive.all())


def auc(positive: Flags, score: Reals) -> float | None:
    """Return the area below the curve, in [0, 1]; None when either class is missing.

    It is the chance that a positive scores above a negative, ties counting half (Hanley and
    McNeil 1982, Radiology 143:29, eq. 1).

    >>> auc(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    if not has_both_classes(positive):
        return None
    positives, negatives = int(positive.sum()), int((~positive).sum())
    total = ranks(score)[positive].sum()
    return float((total - positives * (positives + 1) / 2) / (positives * negatives))


def weighted_auc(positive: Flags, score: Reals) -> Statistic:
    """Return `auc` as a function of weights (resamples, n); NaN where a class has no weight.

    >>> weighted_auc(np.array([False, True]), np.array([0.1, 0.9]))(np.array([[1.0, 2.0]]))
    array([1.])
    """
    rates = weighted_roc(positive, score)

    def statistic(weights: Reals) -> Reals:
        fpr, tpr = rates(weights)
        return np.asarray((np.diff(fpr) * (tpr[:, :-1] + tpr[:, 1:])).sum(axis=1) / 2)

    return statistic


def weighted_macro_auc(is_class: Flags, score: Reals) -> Statistic:
    """Return the plain mean of the classes' AUCs, each against the rest; NaN as `weighted_auc`.

    Both are (n, classes).
    """
    parts = [weighted_auc(*pair) for pair in zip(is_class.T, score.T, strict=True)]
    return lambda weights: np.asarray(np.mean([part(weights) for part in parts], axis=0))


def weighted_partial_auc(positive: Flags, score: Reals, below: float) -> Statistic:
    """Return the standardised area up to a false positive rate of `below`, as `weighted_auc`.

    0.5 is chance and 1 perfect, whatever `below` in (0, 1]; at 1 it is `auc`. The curve is
    interpolated at `below`. Source: McClish 1989, Medical Decision Making 9:190.

    >>> flags, scores = np.array([False, True, False, True]), np.array([0.1, 0.4, 0.5, 0.9])
    >>> weighted_partial_auc(flags, scores, 0.5)(np.ones((1, 4))).round(3)
    array([0.667])
    """
    rates = weighted_roc(positive, score)

    def statistic(weights: Reals) -> Reals:
        fpr, tpr = rates(weights)  # (b, distinct scores + 1)
        left, right = np.minimum(fpr[:, :-1], below), np.minimum(fpr[:, 1:], below)
        run, rise = np.diff(fpr, axis=1), np.diff(tpr, axis=1)
        slope = np.divide(rise, run, out=np.zeros_like(run), where=run > 0)
        # the curve is straight between corners: a trapezium, cut off at `below`
        end = np.where(fpr[:, 1:] > below, tpr[:, :-1] + slope * (right - left), tpr[:, 1:])
        area = ((right - left) * (tpr[:, :-1] + end)).sum(axis=1) / 2
        chance = below**2 / 2
        return np.asarray((1 + (area - chance) / (below - chance)) / 2)

    return statistic


def weighted_roc(positive: Flags, score: Reals) -> Callable[[Reals], tuple[Reals, Reals]]:
    """Return a function from weights (b, n) to the curve's corners: false, true positive rates.

    Both are (b, distinct scores + 1) and rise from 0 to 1, one corner per distinct score from the
    highest; NaN where a class has no weight.

    >>> rates = weighted_roc(np.array([False, True, True]), np.array([0.2, 0.5, 0.1]))
    >>> [rate.tolist() for rate in rates(np.array([[1.0, 1.0, 3.0]]))]
    [[[0.0, 0.0, 1.0, 1.0]], [[0.0, 0.25, 0.25, 1.0]]]
    """
    order, starts, _ = ties(-score)
    ends = np.append(starts[1:], order.size)  # one past the last image of each tie
    flags = positive[order]

    def rate(weights: Reals) -> Reals:
        total = np.zeros((len(weights), order.size + 1))
        np.cumsum(weights, axis=1, out=total[:, 1:])
        with np.errstate(invalid="ignore"):
            return np.asarray(total[:, np.append(0, ends)] / total[:, -1:])

    def rates(weights: Reals) -> tuple[Reals, Reals]:
        drawn = weights[:, order]
        return rate(drawn * ~flags), rate(drawn * flags)

    return rates
