"""Confidence intervals, each with the name of its method, or with the reason why there is none.

Images of one group (copies, views of one object, patches of one photograph) are not independent:
every interval here takes the group of each image and falls back to the ordinary one when each group
is a single image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from darkroom.evaluation.roc import auc
from darkroom.evaluation.statistic import Flags, Groups, Reals, Statistic, encode_groups

# With 20 groups intervals of 95 % cover about 94 to 96 %, with 3 the bootstrap's cover 69 to 87 %;
# groups of very unequal size or with heavy tails need more: benchmarks/coverage.py.
MIN_GROUPS = 20
MIN_UNITS_PER_CLASS = 10  # independent images or groups that DeLong's interval needs of each
NEAR_PERFECT = 0.99  # an AUC above it rests on a handful of pairs in the wrong order
BOOTSTRAP = "cluster bootstrap, BCa"
DELONG, CLUSTERED_DELONG = "DeLong, logit", "DeLong for clusters (Obuchowski), logit"
MIN_VARIANCE = 1e-24  # of proportions, or of their differences: one below it is rounding
_MAX_WEIGHTS = 100_000  # held at a time: 0.8 MB, which a processor's cache takes
_MAX_BLOCKS = 500  # of the jackknife, which leaves out one group each where they suffice
_EXCESS_WEIGHT = 0.5  # of the excess kurtosis on a bounded scale: by trial
_MIN_DEFINED = 0.9  # of the resamples must have a value
_MAX_BIAS = 1.0  # z0: 84 % of the resamples on one side of the estimate; chosen by us


class Interval(NamedTuple):
    """`low` ≤ `high`, or None twice; `method` names how.

    `note` says why there is no interval, or why not to rely on the one there is.
    """

    low: float | None
    high: float | None
    method: str
    note: str | None = None


def no_interval(method: str, note: str) -> Interval:
    """Return the interval that cannot be given."""
    return Interval(None, None, method, note)


def wilson(successes: float, total: float, confidence: float) -> Interval:
    """Return Wilson's score interval of a proportion; it is in [0, 1] and contains the proportion.

    Counts need not be whole, for effective sample sizes. Source: Wilson 1927, JASA 22:209.

    >>> [round(bound, 3) for bound in wilson(8, 10, 0.95)[:2]]
    [0.49, 0.943]
    """
    if total <= 0:
        return no_interval("Wilson", "no images")
    p, z = successes / total, ndtri((1 + confidence) / 2)
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half_width = z / (1 + z**2 / total) * np.sqrt(p * (1 - p) / total + (z / (2 * total)) ** 2)
    # the clip and min/max only undo rounding at proportions of 0 and 1
    low, high = max(0.0, min(centre - half_width, p)), min(1.0, max(centre + half_width, p))
    return Interval(float(low), float(high), "Wilson")


def proportion_interval(success: Flags, groups: Groups, confidence: float) -> Interval:
    """Return Wilson's interval of the proportion of `success` (n,), at the effective sample size.

    The effective size is n over the design effect, the ratio of the variance between groups to
    that of independent images (at least 1), further reduced by the t distribution's factor for few
    groups. Where every image agrees the groups are counted, since the effect cannot be measured.
    Sources: Kish 1965; Korn and Graubard 1998, Survey Methodology 24:193.
    """
    codes, count = encode_groups(groups)
    total, successes = success.size, float(success.sum())
    if count == total:
        return wilson(successes, total, confidence)
    method = "Wilson at effective sample size"
    if count < 2:
        return no_interval(method, "one group alone: the spread between groups is unknown")
    p = successes / total
    if p in {0.0, 1.0}:
        effective_size = float(count)
    else:
        residuals = np.bincount(codes, success - p)  # (groups,)
        between = count / (count - 1) * np.sum(residuals**2) / total**2
        effective_size = total / max(1.0, between / (p * (1 - p) / total))
    level = (1 + confidence) / 2
    effective_size *= (ndtri(level) / stdtrit(count - 1, level)) ** 2
    low, high, _, note = wilson(p * effective_size, effective_size, confidence)
    return Interval(low, high, method, note)


def mean_interval(values: Reals, groups: Groups, confidence: float) -> Interval:
    """Return the interval of the mean of `values` (n,): Student's t, with groups as the draws.

    The variance is that of the groups' sums of residuals (Kish 1965, of a ratio mean);
    with single images for groups it is the ordinary one.

    >>> [round(limit, 3) for limit in mean_interval(np.array([1.0, 2, 3]), np.arange(3), 0.95)[:2]]
    [-0.484, 4.484]
    """
    codes, count = encode_groups(groups)
    if count < 2:
        return no_interval("t over groups", "one group alone: the spread between is unknown")
    sums = np.bincount(codes, values - values.mean())  # (groups,)
    standard_error = np.sqrt(count / (count - 1) * np.sum(sums**2)) / values.size
    if standard_error <= 1e-12 * np.abs(values).max():
        return no_interval("t over groups", "no spread: equal values, or groups that are all alike")
    margin = float(stats.t.ppf((1 + confidence) / 2, count - 1) * standard_error)
    return Interval(float(values.mean()) - margin, float(values.mean()) + margin, "t over groups")


def placements(positive: Flags, score: Reals) -> tuple[Reals, Reals]:
    """Return the fraction of negatives below each positive (m,), of positives above each negative.

    Ties count half; the mean of either is the AUC. Source: DeLong et al. 1988, Biometrics 44:837,
    in the fast form by ranks of Sun and Xu 2014, IEEE Signal Processing Letters 21:1389.
    """
    positives, negatives = score[positive], score[~positive]
    ranks = stats.rankdata(np.concatenate([positives, negatives]))
    of_positives = (ranks[: positives.size] - stats.rankdata(positives)) / negatives.size
    of_negatives = 1 - (ranks[positives.size :] - stats.rankdata(negatives)) / positives.size
    return of_positives, of_negatives


def delong_variance(positive: Flags, score: Reals, groups: Groups) -> tuple[float, float]:
    """Return the variance of the AUC of images in groups, and its degrees of freedom.

    At least two groups with positives and two with negatives are needed. Where each image is a
    group of its own it is DeLong's variance (Sun and Xu's equations 11 to 13). Source: Obuchowski
    1997, Biometrics 53:567, section 2. The degrees of freedom are those of `two_class_variance`.
    """
    codes, count = encode_groups(groups)
    members = positive, ~positive
    placed = zip(members, placements(positive, score), strict=True)
    errors = [np.bincount(codes[flags], p - p.mean(), count) / p.size for flags, p in placed]
    return two_class_variance(errors, [np.unique(codes[flags]).size for flags in members])


def two_class_variance(errors: Sequence[Reals], sizes: Sequence[int]) -> tuple[float, float]:
    """Return the variance of a sum of two classes' errors, and its degrees of freedom.

    `errors` are what each group (groups,) adds to either error, `sizes` how many groups have images
    of the class: two or more. Groups that have both make the errors depend on each other. The
    degrees of freedom are Welch's, and fewer than there are groups.
    """
    count = errors[0].size
    pairs = list(zip(errors, sizes, strict=True))
    variances = [k / (k - 1) * float(error @ error) for error, k in pairs]
    dfs = [effective_degrees_of_freedom(error, k, _EXCESS_WEIGHT) for error, k in pairs]
    covariance = 2 * count / (count - 1) * float(errors[0] @ errors[1])
    total, squares = sum(variances), sum(v**2 / df for v, df in zip(variances, dfs, strict=True))
    welch = min(total**2 / squares, count - 1) if squares > 0 else count - 1
    return max(0.0, total + covariance), float(welch)


def auc_interval(positive: Flags, score: Reals, groups: Groups, confidence: float) -> Interval:
    """Return DeLong's interval of the AUC on the logit scale; it contains the AUC, within (0, 1).

    Its limits are those of the t distribution. An AUC of exactly 0 or 1 has no variance to measure;
    `_perfect_auc_interval` bounds it instead. Source: as `delong_variance`; the logit scale is
    recommended by Qin and Hotilovac 2008, Statistical Methods in Medical Research 17:207.
    """
    codes, count = encode_groups(groups)
    method = DELONG if count == positive.size else CLUSTERED_DELONG
    value = auc(positive, score)
    if value is None:
        return no_interval(method, "one class only")
    independent_units = [int(np.unique(codes[flags]).size) for flags in (positive, ~positive)]
    if value in {0.0, 1.0}:
        return _perfect_auc_interval(value, min(independent_units), confidence)
    if min(independent_units) < 2:
        units = "images" if count == positive.size else "groups with images"
        return no_interval(method, f"fewer than two {units} of one class")
    variance, degrees_of_freedom = delong_variance(positive, score, groups)
    if variance <= MIN_VARIANCE:
        return no_interval(method, "no spread: constant predictions, or groups that are all alike")
    t = stdtrit(degrees_of_freedom, (1 + confidence) / 2)
    margin = t * np.sqrt(variance) / (value * (1 - value))
    low, high = expit(logit(value) - margin), expit(logit(value) + margin)
    note = _reliability_note(value, min(independent_units))
    return Interval(float(min(low, value)), float(max(high, value)), method, note)


def _reliability_note(value: float, units: int) -> str | None:
    """Return why DeLong's interval of an AUC may cover less, or more, than it says."""
    if units < MIN_UNITS_PER_CLASS:
        return f"interval unreliable: {units} independent images or groups of one class"
    if max(value, 1 - value) > NEAR_PERFECT:
        return f"interval unreliable: AUC within {1 - NEAR_PERFECT:.2g} of the end of its scale"
    return None


def _perfect_auc_interval(value: float, units: int, confidence: float) -> Interval:
    """Bound an AUC of 0 or 1 as a proportion of the smaller class's `units`: chosen by us."""
    low, high, _, _ = wilson(value * units, units, confidence)
    return Interval(low, high, "Wilson on the scarcer class")


class Resamples(NamedTuple):
    """A statistic over resamples of groups, and what BCa corrects for."""

    values: Reals  # (b,) all finite
    estimate: float  # of all groups, each once
    bias: float  # z0 of Efron 1987; not finite, like the acceleration, where it is undefined
    acceleration: float  # a
    groups: int
    degrees_of_freedom: float  # of the variance between groups


def cluster_bootstrap(
    statistic: Statistic,
    groups: Groups,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """Return the BCa interval of a statistic, drawing whole groups with replacement.

    `statistic` maps weights (b, n) to (b,); a group that is drawn twice weighs 2. The interval
    contains the estimate and is within the statistic's range. Source: Efron 1987, JASA 82:171,
    eqs. 2.3 and 6.6, with the jackknife over groups and `expanded_quantiles`; Field and Welsh 2007,
    JRSS B 69:369 for drawing clusters.
    """
    drawn = resample(statistic, groups, resamples, rng)
    return no_interval(BOOTSTRAP, drawn) if isinstance(drawn, str) else bca(drawn, confidence)


def resample(
    statistic: Statistic, groups: Groups, resamples: int, rng: np.random.Generator
) -> Resamples | str:
    """Return the statistic over resamples of whole groups, or the reason why there is none."""
    codes, count = encode_groups(groups)
    if count < 2:
        return "one group alone: the spread between groups is unknown"
    values = _draw_groups(statistic, codes, count, resamples, rng)
    defined = values[np.isfinite(values)]
    if defined.size < _MIN_DEFINED * resamples:
        return f"undefined in {resamples - defined.size} of {resamples} draws"
    if np.ptp(defined) <= 1e-12 * np.abs(defined).max():
        return "no spread: every draw gives the same value"
    estimate = statistic(np.ones((1, codes.size)))[0]
    bias = ndtri(np.mean(defined < estimate) + np.mean(defined == estimate) / 2)
    return Resamples(defined, float(estimate), float(bias), *_acceleration(statistic, codes, count))


def bca(draws: Resamples, confidence: float) -> Interval:
    """Return the BCa interval; it is wider than a point and contains the estimate.

    There is none where it would not: BCa shifts both limits by twice the bias, and beyond the
    estimate where the bias is larger than half the nominal interval.
    """
    quantiles = expanded_quantiles(draws.groups, confidence, draws.degrees_of_freedom)
    quantiles = _corrected(quantiles, draws)
    # of B draws the k-th lies at k / (B + 1) of a new one's chances: Davison and Hinkley 1997, 5.2
    low, high = map(float, np.quantile(draws.values, ndtr(quantiles), method="weibull"))
    rounding = 1e-12 * float(np.abs(draws.values).max())
    if not low - rounding <= draws.estimate <= high + rounding:
        return no_interval(BOOTSTRAP, "the draws lie to one side of the estimate, which is biased")
    if high - low <= rounding:
        return no_interval(BOOTSTRAP, "no spread: nearly every draw gives the same value")
    note = None
    if abs(draws.bias) > _MAX_BIAS:
        percent = 100 * max(ndtr(draws.bias), ndtr(-draws.bias))
        note = f"interval unreliable: {percent:.0f} % of the draws lie to one side of the estimate"
    return Interval(min(low, draws.estimate), max(high, draws.estimate), BOOTSTRAP, note)


def _corrected(quantiles: Reals, draws: Resamples) -> Reals:
    """Return BCa's standard normal quantiles, rising; a plain one where its own is undefined.

    That is so where bias or acceleration are, and beyond the pole of Efron's equation, which few
    groups reach: their quantiles are wide.
    """
    bias, acceleration = draws.bias, draws.acceleration
    if not (np.isfinite(bias) and np.isfinite(acceleration)):
        return quantiles
    shifted = bias + quantiles
    divisor = 1 - acceleration * shifted
    return np.asarray(bias + np.divide(shifted, divisor, out=quantiles - bias, where=divisor > 0))


def _draw_groups(
    statistic: Statistic,
    codes: NDArray[np.intp],
    count: int,
    resamples: int,
    rng: np.random.Generator,
) -> Reals:
    """Return the statistic of each resample (resamples,), a few at a time to bound memory."""
    at_once = max(1, _MAX_WEIGHTS // codes.size)
    values = []
    for start in range(0, resamples, at_once):
        b = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(b, count)) + count * np.arange(b)[:, None]
        times = np.bincount(drawn.ravel(), minlength=b * count).reshape(b, count)
        values.append(statistic(times.astype(np.float64)[:, codes]))
    return np.concatenate(values)


def _acceleration(
    statistic: Statistic, codes: NDArray[np.intp], count: int
) -> tuple[float, int, float]:
    """Return acceleration, number of groups and degrees of freedom: the jackknife over groups."""
    values = _jackknife(statistic, codes, count)
    deviations = values.mean() - values
    largest = np.abs(deviations).max()
    if largest > 0:
        deviations = deviations / largest  # powers of tiny ones would vanish
    square = np.sum(deviations**2)
    acceleration = np.sum(deviations**3) / (6 * square**1.5) if square > 0 else np.nan
    return float(acceleration), count, effective_degrees_of_freedom(deviations, values.size)


def effective_degrees_of_freedom(
    deviations: Reals, count: int, excess_weight: float = 1.0
) -> float:
    """Return the degrees of freedom of the variance of `count` groups' deviations, zeros left out.

    They match the variance of the estimated variance under the kurtosis of the groups, whose excess
    is weighted: `count` − 1 where it is a normal distribution's, fewer where a few groups are large
    or extreme, and at most twice as many, from `MIN_GROUPS` on, where all deviate about as much.
    Sources: Satterthwaite 1946, Biometrics Bulletin 2:110; Joanes and Gill 1998, The Statistician
    47:183, G2, for the excess.

    >>> effective_degrees_of_freedom(np.array([1.0, -1.0, 1.0, -1.0]), 4)
    3.0
    >>> round(effective_degrees_of_freedom(np.array([9.0] + [-1.0] * 9), 10), 2)
    1.5
    """
    square = float(np.sum(deviations**2))
    if count <= 3 or square == 0:
        return count - 1.0
    plain = count * float(np.sum(deviations**4)) / square**2 - 3
    excess = (count - 1) / ((count - 2) * (count - 3)) * ((count + 1) * plain + 6)
    return (count - 1) / max(0.5 if count >= MIN_GROUPS else 1.0, 1 + excess_weight * excess / 2)


def expanded_quantiles(
    count: int, confidence: float, degrees_of_freedom: float | None = None
) -> Reals:
    """Return the standard normal quantiles (2,) that correct the bootstrap's bias for few groups.

    Drawing n groups shows (n − 1) / n of the variance and ignores that it was estimated; these are
    quantiles of the t distribution, of n − 1 degrees of freedom unless given, stretched by
    sqrt(n / (n − 1)). Source: Hesterberg 2015, The American Statistician 69:371 (the expanded
    percentile interval).

    >>> expanded_quantiles(8, 0.95).round(2), expanded_quantiles(10_000, 0.95).round(2)
    (array([-2.53,  2.53]), array([-1.96,  1.96]))
    """
    df = count - 1 if degrees_of_freedom is None else degrees_of_freedom
    t = stdtrit(df, (1 + confidence) / 2)
    return np.asarray(np.sqrt(count / (count - 1)) * np.array([-t, t]))


def _jackknife(statistic: Statistic, codes: NDArray[np.intp], count: int) -> Reals:
    """Return the statistic without each group, or without each of `_MAX_BLOCKS` blocks of them."""
    blocks = min(count, _MAX_BLOCKS)
    at_once = max(1, _MAX_WEIGHTS // codes.size)
    values = []
    for start in range(0, blocks, at_once):
        left_out = np.arange(start, min(start + at_once, blocks))
        values.append(statistic((codes[None] % blocks != left_out[:, None]).astype(np.float64)))
    return np.concatenate(values)


def ratio_interval(
    numerator: tuple[float, Interval], denominator: tuple[float, Interval]
) -> tuple[float, float]:
    """Return (low, high) of the ratio of two independent proportions from their own intervals.

    Infinity where the denominator may be 0. Source: MOVER-R, Donner and Zou 2012, Statistical
    Methods in Medical Research 21:347, eqs. for θ1/θ2, written without their 0/0.
    """
    (top, (top_low, top_high, *_)) = numerator
    (bottom, (bottom_low, bottom_high, *_)) = denominator
    if top_low is None or top_high is None or bottom_low is None or bottom_high is None:
        raise ValueError("expected two intervals with bounds")
    product = top * bottom
    a, b = top_low * (2 * top - top_low), bottom_high * (2 * bottom - bottom_high)
    low = a / (product + np.sqrt(max(0.0, product**2 - a * b))) if a > 0 else 0.0
    a, b = top_high * (2 * top - top_high), bottom_low * (2 * bottom - bottom_low)
    high = (product + np.sqrt(max(0.0, product**2 - a * b))) / b if b > 0 else np.inf
    return float(low), float(high)
