"""The band around a ROC curve: where the sensitivity at each false positive rate may lie."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from darkroom.evaluation.intervals import Interval, codes_of, variance_of_classes, wilson
from darkroom.evaluation.metrics import Side
from darkroom.evaluation.roc import weighted_rates

Reals = NDArray[np.float64]

# Standard errors of a threshold's false positive rate, to either side, over which the slope of the
# curve is taken: more would flatten its bend, fewer would follow single images. By trial.
_REACH = 1.1


def sensitivity_band(side: Side, at: Reals, confidence: float) -> tuple[Reals, Reals]:
    """Return the pointwise interval of the sensitivity at each false positive rate of rising `at`.

    All are (m,). It is Wilson's interval at the effective number of positives, with t ends: as many
    as would give the variance of the sensitivity, to which the positives add their own chance and
    the negatives, by the slope of the curve, that of the threshold. It holds the curve, and both
    ends rise as it does. Below a rate of one in so many negatives it is too wide. NaN where there
    is none: fewer than two groups with images of one class, which show no spread. Sources: Hsieh
    and Turnbull 1996, Annals of Statistics 24:25, theorem 2.2; Korn and Graubard 1998, Survey
    Methodology 24:193.
    """
    codes, count = codes_of(side.groups)
    among = [np.unique(codes[part]).size for part in (side.positive, ~side.positive)]
    if min(among) < 2:
        return np.full(at.size, np.nan), np.full(at.size, np.nan)
    (across,), (up,) = weighted_rates(side.positive, side.score)(np.ones((1, codes.size)))
    negatives = np.sort(side.score[~side.positive])[::-1]
    # of n negatives the k-th highest lies above k / (n + 1) of a new one's chances
    rates = np.concatenate([[0], (across * negatives.size + 0.5) / (negatives.size + 1), [1]])
    risen = np.concatenate([[0], up, [1]])
    places = np.clip(at * (negatives.size + 1) - 1, 0, negatives.size - 1)
    thresholds = np.interp(places, np.arange(negatives.size), negatives)

    ends = []
    for rate, threshold in zip(at, thresholds, strict=True):
        found, false = _by_group(side, threshold, codes, count)
        error = max(np.sqrt(false @ false), np.sqrt(rate * (1 - rate) / negatives.size))
        reach = _REACH * max(error, 1 / negatives.size)
        window = np.clip([rate - reach, rate + reach], 0, 1)
        slope = np.diff(np.interp(window, rates, risen)) / np.diff(window)
        sensitivity = float(np.interp(rate, rates, risen))
        variance, freedom = variance_of_classes([found, -slope * false], among)
        ends.append(_interval(sensitivity, variance, freedom, side, confidence)[:2])
    low, high = np.array(ends, np.float64).T
    curve = np.interp(at, across, up)  # where it rises at one rate, the top of the rise
    low = np.where(at < 1, np.minimum(low, curve), 1)  # everything is called at a rate of 1
    high = np.maximum(high, curve)
    return np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]


def _by_group(side: Side, threshold: float, codes: NDArray[np.intp], count: int) -> list[Reals]:
    """Return what each group (groups,) adds to the error of sensitivity and false positive rate."""
    called = side.score >= threshold
    return [
        np.bincount(codes[part], called[part] - called[part].mean(), count) / part.sum()
        for part in (side.positive, ~side.positive)
    ]


def _interval(
    sensitivity: float, variance: float, freedom: float, side: Side, confidence: float
) -> Interval:
    """Return Wilson's interval at the effective number of positives."""
    level = (1 + confidence) / 2
    z, positives = ndtri(level), int(side.positive.sum())
    most = positives
    if sensitivity in {0.0, 1.0}:  # images that all agree do not show how much groups are alike
        most = len(np.unique(side.groups[side.positive]))
    # Wilson's centre, so that a sensitivity of 1 does not make the threshold's chance infinite
    share = (sensitivity * positives + z**2 / 2) / (positives + z**2)
    effective = min(most, share * (1 - share) / variance) if variance > 0 else most
    effective *= (z / stdtrit(freedom, level)) ** 2
    return wilson(sensitivity * effective, effective, confidence)
