"""The band around a ROC curve: where the sensitivity at each false positive rate may lie."""

import numpy as np
from scipy.special import ndtri, stdtrit

from darkroom.evaluation.delong import errors_by_group, two_class_variance
from darkroom.evaluation.intervals import Interval, wilson
from darkroom.evaluation.metrics import BinaryScores
from darkroom.evaluation.roc import weighted_roc
from darkroom.evaluation.statistic import Reals, encode_groups

# Half the window over which the slope of the curve is taken, in standard errors of a threshold's
# false positive rate: more would flatten its bend, fewer would follow single images. By trial.
_HALF_WINDOW = 1.1


def sensitivity_band(
    task: BinaryScores, false_positive_rates: Reals, confidence: float
) -> tuple[Reals, Reals]:
    """Return the pointwise interval of the sensitivity at rising false positive rates.

    All are (m,). It is Wilson's interval at the effective number of positives, with quantiles of
    the t distribution: as many as would give the variance of the sensitivity, to which the
    positives add their own and the negatives, by the slope of the curve, that of the threshold. It
    contains the curve, and both limits rise as it does. Below a rate of one in so many negatives it
    is too wide. NaN where there is none: fewer than two groups with images of one class. Sources:
    Hsieh and Turnbull 1996, Annals of Statistics 24:25, theorem 2.2; Korn and Graubard 1998, Survey
    Methodology 24:193.
    """
    codes, count = encode_groups(task.groups)
    sizes = [np.unique(codes[flags]).size for flags in (task.positive, ~task.positive)]
    if min(sizes) < 2:
        undefined = np.full(false_positive_rates.size, np.nan)
        return undefined, undefined.copy()
    (fpr,), (tpr,) = weighted_roc(task.positive, task.score)(np.ones((1, codes.size)))
    negatives = np.sort(task.score[~task.positive])[::-1]
    # of n negatives the k-th highest lies above k / (n + 1) of a new one's chances
    rates = np.concatenate([[0], (fpr * negatives.size + 0.5) / (negatives.size + 1), [1]])
    sensitivities = np.concatenate([[0], tpr, [1]])
    ranks = np.clip(false_positive_rates * (negatives.size + 1) - 1, 0, negatives.size - 1)
    thresholds = np.interp(ranks, np.arange(negatives.size), negatives)

    limits = []
    for rate, threshold in zip(false_positive_rates, thresholds, strict=True):
        predicted = task.score >= threshold
        of_classes = predicted[task.positive], predicted[~task.positive]
        of_tpr, of_fpr = errors_by_group(task.positive, of_classes, codes, count)
        error = max(np.sqrt(of_fpr @ of_fpr), np.sqrt(rate * (1 - rate) / negatives.size))
        half_window = _HALF_WINDOW * max(error, 1 / negatives.size)
        window = np.clip([rate - half_window, rate + half_window], 0, 1)
        slope = np.diff(np.interp(window, rates, sensitivities)) / np.diff(window)
        sensitivity = float(np.interp(rate, rates, sensitivities))
        variance, degrees_of_freedom = two_class_variance([of_tpr, -slope * of_fpr], sizes)
        interval = _interval(sensitivity, variance, degrees_of_freedom, task, confidence)
        limits.append(interval[:2])
    low, high = np.array(limits, np.float64).T
    curve = np.interp(false_positive_rates, fpr, tpr)  # where it rises at one rate, its top
    low = np.where(false_positive_rates < 1, np.minimum(low, curve), 1)  # all is positive at 1
    high = np.maximum(high, curve)
    return np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]


def _interval(
    sensitivity: float,
    variance: float,
    degrees_of_freedom: float,
    task: BinaryScores,
    confidence: float,
) -> Interval:
    """Return Wilson's interval at the effective number of positives."""
    level = (1 + confidence) / 2
    z, positives = ndtri(level), int(task.positive.sum())
    max_size = positives
    if sensitivity in {0.0, 1.0}:  # images that all agree do not show how much groups are alike
        max_size = len(np.unique(task.groups[task.positive]))
    # Wilson's centre, so that a sensitivity of 1 does not make the threshold's variance infinite
    centre = (sensitivity * positives + z**2 / 2) / (positives + z**2)
    size = min(max_size, centre * (1 - centre) / variance) if variance > 0 else max_size
    size *= (z / stdtrit(degrees_of_freedom, level)) ** 2
    return wilson(sensitivity * size, size, confidence)
