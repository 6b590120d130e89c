"""Is one model better than another on the same images? Differences with interval and p-value.

Everywhere `b` is set against `a`: a difference is b − a, so that swapping the two negates it and
mirrors its interval. p-values are two-sided. Images of one group are no independent witnesses;
DeLong's and McNemar's are for groups of single images, the bootstrap for all others.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from darkroom.evaluation.agreement import Statistic
from darkroom.evaluation.intervals import (
    BOOTSTRAP,
    ROUNDING,
    Draws,
    Groups,
    Interval,
    bca,
    codes_of,
    draw_groups,
    no_interval,
    placements,
)
from darkroom.evaluation.roc import Flags

Reals = NDArray[np.float64]

DELONG, BONETT_PRICE = "paired DeLong", "Bonett-Price"
PAIRED_BOOTSTRAP = f"paired {BOOTSTRAP}"


def paired_delong(positive: Flags, score_a: Reals, score_b: Reals, confidence: float) -> Interval:
    """Return DeLong's interval of AUC b − AUC a of independent images, (n,) each.

    Symmetric about the difference and cut off at ±1. Source: DeLong et al. 1988, Biometrics
    44:837, eq. 5 and its covariances, which are the variances of the differences of `placements`.
    """
    difference, variance = _delong(positive, score_a, score_b)
    if not np.isfinite(variance):
        return no_interval(DELONG, "fewer than two images of one class")
    if variance <= ROUNDING:
        return no_interval(DELONG, "no spread: every image says the same")
    reach = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(variance)
    low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
    return Interval(float(low), float(high), DELONG)


def delong_test(positive: Flags, score_a: Reals, score_b: Reals) -> float | None:
    """Return the p-value of equal AUCs of independent images; None for fewer than two of a class.

    Where every image says the same, such as a perfect model against a constant one, there is no
    variance, and the images of the scarcer class are counted as by a sign test.
    """
    difference, variance = _delong(positive, score_a, score_b)
    if not np.isfinite(variance):
        return None
    if variance <= ROUNDING:
        return _unanimous(difference, int(min(positive.sum(), (~positive).sum())))
    return float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


def _delong(positive: Flags, score_a: Reals, score_b: Reals) -> tuple[float, float]:
    """Return AUC b − AUC a and its variance, NaN for fewer than two images of a class."""
    if min(positive.sum(), (~positive).sum()) < 2:
        return np.nan, np.nan
    pairs = zip(placements(positive, score_a), placements(positive, score_b), strict=True)
    above, below = (b - a for a, b in pairs)  # (positives,), (negatives,)
    variance = above.var(ddof=1) / above.size + below.var(ddof=1) / below.size
    return float(above.mean()), float(variance)


def paired_bootstrap(
    statistic_a: Statistic,
    statistic_b: Statistic,
    groups: Groups,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[Interval, float | None]:
    """Return the BCa interval of statistic b − a and the p-value of none, drawing whole groups.

    Both statistics see the same draws. The p-value is 1 minus the confidence at which an end of
    the interval reaches 0, and no smaller than the draws can show: with n of them about 1 / n.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 15.4 (tests by
    intervals). None where there is no interval; only where every draw gives the same difference
    are groups counted as by a sign test.
    """

    def difference(weights: Reals) -> Reals:
        return np.asarray(statistic_b(weights) - statistic_a(weights))

    draws = draw_groups(difference, groups, resamples, rng)
    if not isinstance(draws, str):
        interval = bca(draws, confidence)._replace(method=PAIRED_BOOTSTRAP)
        return interval, None if interval.low is None else _smallest_level(draws)
    estimate = float(difference(np.ones((1, len(groups))))[0])
    p = _unanimous(estimate, codes_of(groups)[1]) if draws.startswith("no spread") else None
    return no_interval(PAIRED_BOOTSTRAP, draws), p


def _smallest_level(draws: Draws) -> float:
    """Return 1 − the confidence at which BCa's interval ends at 0: Efron's levels, inverted."""
    values, bias, skew = draws.values, draws.bias, draws.skew
    below = np.sum(values < 0) + np.sum(values == 0) / 2
    end = stats.norm.ppf((below + 0.5) / (values.size + 1))  # never infinite
    if np.isfinite(bias) and np.isfinite(skew) and 1 + skew * (end - bias) > 0:
        end = (end - bias) / (1 + skew * (end - bias)) - bias
    shrink = np.sqrt((draws.groups - 1) / draws.groups)  # undoes `expanded_ends`
    return float(2 * stats.t.sf(abs(end) * shrink, draws.freedom))


def _unanimous(difference: float, witnesses: int) -> float:
    """Return the sign test's p-value of `witnesses` that all say the same.

    >>> _unanimous(0.2, 5), _unanimous(0.0, 5)
    (0.0625, 1.0)
    """
    return 1.0 if abs(difference) <= np.sqrt(ROUNDING) else 2.0 ** (1 - witnesses)


def mcnemar(right_a: Flags, right_b: Flags) -> float:
    """Return the exact p-value of equal accuracy of two models on independent images, (n,) each.

    It is the two-sided binomial test on the images that one model alone gets right. The exact test
    holds its level at any n; the mid-p version, which finds a little more, may not. Sources:
    McNemar 1947, Psychometrika 12:153; Fagerland et al. 2013, BMC Med. Res. Methodol. 13:91.

    >>> mcnemar(np.array([True] * 6), np.array([False] * 5 + [True]))
    0.0625
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_b, only_a + only_b).pvalue)


def accuracy_interval(right_a: Flags, right_b: Flags, confidence: float) -> Interval:
    """Return the interval of accuracy b − a of independent images, (n,) each.

    Wald's after adding one image to each kind of discordance, cut off at ±1. Source: Bonett and
    Price 2012, J. Educ. Behav. Stat. 37:479; recommended by Fagerland et al. 2014, Stat. Med.
    33:2850.
    """
    if not right_a.size:
        return no_interval(BONETT_PRICE, "no images")
    lost, won = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    total, difference = right_a.size + 2, (won - lost) / right_a.size
    middle, discordant = (won - lost) / total, (won + lost + 2) / total
    reach = stats.norm.ppf((1 + confidence) / 2) * np.sqrt((discordant - middle**2) / total)
    # contains the difference at any confidence
    low, high = min(middle - reach, difference), max(middle + reach, difference)
    return Interval(float(max(-1.0, low)), float(min(1.0, high)), BONETT_PRICE)


def holm(ps: Sequence[float]) -> list[float]:
    """Return each p-value adjusted for looking at all of them, whatever their dependence.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65, as adjusted p-values (Wright 1992,
    Biometrics 48:1005).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(ps, kind="stable")
    raised = np.asarray(ps, np.float64)[order] * np.arange(len(ps), 0, -1)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raised))
    return [float(p) for p in adjusted]
