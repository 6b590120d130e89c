"""The band around a ROC curve: where the sensitivity at each false positive rate may lie."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stages.statistics.figures import Settings, Side
from stages.statistics.intervals import codes_of, expanded_ends, resampled, share_interval
from stages.statistics.roc import has_both, weighted_rates

Reals = NDArray[np.float64]


def sensitivity_band(side: Side, at: Reals, settings: Settings) -> tuple[Reals, Reals]:
    """Return the pointwise interval of the sensitivity at each false positive rate of rising `at`.

    All are (m,). Cluster bootstrap with vertical averaging (Fawcett 2006, Pattern Recognition
    Letters 27:861, section 8.1), the percentiles expanded for few groups. Nowhere is it narrower
    than Wilson's interval of that sensitivity: a false positive rate that is known exactly leaves
    the positives' own chance, which the bootstrap cannot see where all of them are found. Both ends
    rise, as the sensitivity does. Below a rate of about one in so many negatives it covers too
    seldom. NaN where there is none: one class alone, or one group.
    """
    codes, count = codes_of(side.groups)
    if count < 2 or not has_both(side.positive):
        return np.full(at.size, np.nan), np.full(at.size, np.nan)
    rates = weighted_rates(side.positive, side.score)

    def sensitivities(weights: Reals) -> Reals:
        # where the curve rises at one rate, np.interp takes the top of the rise
        pairs = zip(*rates(weights), strict=True)
        return np.array([np.interp(at, across, up) for across, up in pairs])  # (b, m)

    rng = settings.rng("roc band")
    drawn = resampled(sensitivities, codes, count, settings.resamples, rng)
    levels = stats.norm.cdf(expanded_ends(count, settings.confidence))
    low, high = np.nanquantile(drawn, levels, axis=0)
    found = sensitivities(np.ones((1, codes.size)))[0]
    own = _shares_intervals(side, found, settings.confidence)
    low = np.where(at < 1, np.minimum(low, own[:, 0]), 1)  # everything is called at a rate of 1
    high = np.maximum(high, own[:, 1])
    return np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]


def _shares_intervals(side: Side, sensitivity: Reals, confidence: float) -> Reals:
    """Return Wilson's interval (m, 2) of finding so many of the positives, the best scored ones."""
    order = np.argsort(-side.score[side.positive], kind="stable")
    groups = side.groups[side.positive][order]
    ends = {}
    for found in np.unique(np.floor(sensitivity * groups.size + 1e-9).astype(int)):
        interval = share_interval(np.arange(groups.size) < found, groups, confidence)
        ends[found] = (np.nan, np.nan) if interval.low is None else interval[:2]
    return np.array([ends[int(np.floor(s * groups.size + 1e-9))] for s in sensitivity], np.float64)
