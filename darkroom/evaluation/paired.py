"""Is one model better than another on the same images? Differences with interval and p-value.

Everywhere `b` is set against `a`: a difference is b − a, so that swapping the two negates it and
mirrors its interval. p-values are two-sided. Images of one group are not independent: DeLong's and
McNemar's tests are for groups of single images, the bootstrap for all others.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from darkroom.evaluation.bootstrap import BOOTSTRAP, Resamples, bca, resample
from darkroom.evaluation.delong import MIN_VARIANCE, placements
from darkroom.evaluation.intervals import Interval, no_interval
from darkroom.evaluation.statistic import Flags, Groups, Reals, Statistic, encode_groups

DELONG, BONETT_PRICE = "paired DeLong", "Bonett-Price"
PAIRED_BOOTSTRAP = f"paired {BOOTSTRAP}"


def delong_interval(positive: Flags, score_a: Reals, score_b: Reals, confidence: float) -> Interval:
    """Return DeLong's interval of AUC b − AUC a of independent images, (n,) each.

    Symmetric about the difference and cut off at ±1. Source: DeLong et al. 1988, Biometrics
    44:837, eq. 5 and its covariances, which are the variances of the differences of `placements`.
    """
    difference, variance = _auc_difference(positive, score_a, score_b)
    if not np.isfinite(variance):
        return no_interval(DELONG, "fewer than two images of one class")
    if variance <= MIN_VARIANCE:
        return no_interval(DELONG, "no spread: every image says the same")
    margin = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(variance)
    low, high = max(-1.0, difference - margin), min(1.0, difference + margin)
    return Interval(float(low), float(high), DELONG)


def delong_test(positive: Flags, score_a: Reals, score_b: Reals) -> float | None:
    """Return the p-value of equal AUCs of independent images; None for fewer than two of a class.

    Where every image says the same, such as a perfect model against a constant one, there is no
    variance, and it is the sign test over the images of the smaller class.
    """
    difference, variance = _auc_difference(positive, score_a, score_b)
    if not np.isfinite(variance):
        return None
    if variance <= MIN_VARIANCE:
        return _sign_test(difference, int(min(positive.sum(), (~positive).sum())))
    return float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


def _auc_difference(positive: Flags, score_a: Reals, score_b: Reals) -> tuple[float, float]:
    """Return AUC b − AUC a and its variance, NaN for fewer than two images of a class."""
    if min(positive.sum(), (~positive).sum()) < 2:
        return np.nan, np.nan
    pairs = zip(placements(positive, score_a), placements(positive, score_b), strict=True)
    of_positives, of_negatives = (b - a for a, b in pairs)  # (positives,), (negatives,)
    variances = [each.var(ddof=1) / each.size for each in (of_positives, of_negatives)]
    return float(of_positives.mean()), float(sum(variances))


def paired_bootstrap(
    statistic_a: Statistic,
    statistic_b: Statistic,
    groups: Groups,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[Interval, float | None]:
    """Return the BCa interval of statistic b − a and the p-value of none, drawing whole groups.

    Both statistics see the same resamples. The p-value is 1 minus the confidence at which the
    interval reaches 0, and no smaller than n resamples can show: about 1 / n. Source: Efron and
    Tibshirani 1993, An Introduction to the Bootstrap, section 15.4 (tests by intervals). None where
    there is no interval; only where every resample gives the same difference it is the sign test
    over groups.
    """

    def difference(weights: Reals) -> Reals:
        return np.asarray(statistic_b(weights) - statistic_a(weights))

    drawn = resample(difference, groups, resamples, rng)
    if not isinstance(drawn, str):
        interval = bca(drawn, confidence)._replace(method=PAIRED_BOOTSTRAP)
        return interval, None if interval.low is None else _bootstrap_p_value(drawn)
    p = None
    if drawn.startswith("no spread"):
        estimate = float(difference(np.ones((1, len(groups))))[0])
        p = _sign_test(estimate, encode_groups(groups)[1])
    return no_interval(PAIRED_BOOTSTRAP, drawn), p


def _bootstrap_p_value(draws: Resamples) -> float:
    """Return 1 − the confidence at which BCa's interval reaches 0: Efron's levels, inverted."""
    values, bias, acceleration = draws.values, draws.bias, draws.acceleration
    below = np.sum(values < 0) + np.sum(values == 0) / 2
    z = stats.norm.ppf((below + 0.5) / (values.size + 1))  # never infinite
    if np.isfinite(bias) and np.isfinite(acceleration) and 1 + acceleration * (z - bias) > 0:
        z = (z - bias) / (1 + acceleration * (z - bias)) - bias
    shrink = np.sqrt((draws.groups - 1) / draws.groups)  # undoes `expanded_quantiles`
    return float(2 * stats.t.sf(abs(z) * shrink, draws.degrees_of_freedom))


def _sign_test(difference: float, independent_units: int) -> float:
    """Return the sign test's p-value of units whose differences are all equal.

    >>> _sign_test(0.2, 5), _sign_test(0.0, 5)
    (0.0625, 1.0)
    """
    return 1.0 if abs(difference) <= np.sqrt(MIN_VARIANCE) else 2.0 ** (1 - independent_units)


def mcnemar(correct_a: Flags, correct_b: Flags) -> float:
    """Return the exact p-value of equal accuracy of two models on independent images, (n,) each.

    It is the two-sided binomial test on the images that one model alone gets right. The exact test
    holds its level at any n; the mid-p version, which finds a little more, may not. Sources:
    McNemar 1947, Psychometrika 12:153; Fagerland et al. 2013, BMC Med. Res. Methodol. 13:91.

    >>> mcnemar(np.array([True] * 6), np.array([False] * 5 + [True]))
    0.0625
    """
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_b, only_a + only_b).pvalue)


def accuracy_difference_interval(correct_a: Flags, correct_b: Flags, confidence: float) -> Interval:
    """Return the interval of accuracy b − a of independent images, (n,) each.

    Wald's after adding one image to each kind of discordance, cut off at ±1. Source: Bonett and
    Price 2012, J. Educ. Behav. Stat. 37:479; recommended by Fagerland et al. 2014, Stat. Med.
    33:2850.
    """
    if not correct_a.size:
        return no_interval(BONETT_PRICE, "no images")
    lost, won = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    total, difference = correct_a.size + 2, (won - lost) / correct_a.size
    centre, discordant = (won - lost) / total, (won + lost + 2) / total
    margin = stats.norm.ppf((1 + confidence) / 2) * np.sqrt((discordant - centre**2) / total)
    # contains the difference at any confidence
    low, high = min(centre - margin, difference), max(centre + margin, difference)
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
