"""Confidence intervals, each with the name of its method, or with the reason why there is none.

Images of one group (copies, views of one object, patches of one photograph) are no independent
witnesses: every interval here takes the group of each image and falls back to the ordinary one
when each group is a single image.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from darkroom.evaluation.agreement import Statistic
from darkroom.evaluation.roc import Flags, auc

Reals = NDArray[np.float64]
Groups = NDArray[Any]  # (n,) any hashable names, one per image

# With 20 groups intervals of 95 % cover about 94 to 96 %, with 3 the bootstrap's cover 69 to 87 %;
# groups of very unequal size or with heavy tails need more: benchmarks/coverage.py.
LEAST_GROUPS = 20
LEAST_OF_CLASS = 10  # independent images or groups that DeLong's interval wants of each class
NEAR_PERFECT = 0.99  # an AUC above it rests on a handful of pairs in the wrong order
BOOTSTRAP = "cluster bootstrap, BCa"
DELONG, CLUSTERED_DELONG = "DeLong, logit", "DeLong for clusters (Obuchowski), logit"
ROUNDING = 1e-24  # a variance of shares, or of their differences, below this is none
_CELLS = 100_000  # weights held at a time: 0.8 MB, which a processor's cache takes
_JACKKNIFE = 500  # groups left out one by one, or in as many blocks
_COUNTED = 0.5  # of the excess kurtosis where a bounded scale takes up the rest: by trial
_DEFINED = 0.9  # share of resamples that must have a value
_FAR = 1.0  # bias in normal deviates: 84 % of the draws on one side of the estimate; chosen by us


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


def codes_of(groups: Groups) -> tuple[NDArray[np.intp], int]:
    """Return each image's group as a number (n,), and how many groups there are."""
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    return codes, len(names)


def wilson(successes: float, total: float, confidence: float) -> Interval:
    """Return Wilson's score interval of a share; it is in [0, 1] and contains the share.

    Counts need not be whole, for effective sample sizes. Source: Wilson 1927, JASA 22:209.

    >>> [round(bound, 3) for bound in wilson(8, 10, 0.95)[:2]]
    [0.49, 0.943]
    """
    if total <= 0:
        return no_interval("Wilson", "no images")
    share, z = successes / total, ndtri((1 + confidence) / 2)
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    # the clip and min/max only undo rounding at shares of 0 and 1
    low, high = max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
    return Interval(float(low), float(high), "Wilson")


def share_interval(success: Flags, groups: Groups, confidence: float) -> Interval:
    """Return Wilson's interval of the share of `success` (n,), at the effective sample size.

    The effective size is n over the design effect, the ratio of the variance between groups to
    that of independent images (at least 1), further reduced by the t distribution's factor for few
    groups. Where every image agrees the groups are counted, since the effect cannot be measured.
    Sources: Kish 1965; Korn and Graubard 1998, Survey Methodology 24:193.
    """
    codes, count = codes_of(groups)
    total, successes = success.size, float(success.sum())
    if count == total:
        return wilson(successes, total, confidence)
    method = "Wilson at effective sample size"
    if count < 2:
        return no_interval(method, "one group alone: the spread between groups is unknown")
    share = successes / total
    if share in {0.0, 1.0}:
        effective = float(count)
    else:
        residuals = np.bincount(codes, success - share)  # (groups,)
        between = count / (count - 1) * np.sum(residuals**2) / total**2
        effective = total / max(1.0, between / (share * (1 - share) / total))
    level = (1 + confidence) / 2
    effective *= (ndtri(level) / stdtrit(count - 1, level)) ** 2
    low, high, _, note = wilson(share * effective, effective, confidence)
    return Interval(low, high, method, note)


def placements(positive: Flags, score: Reals) -> tuple[Reals, Reals]:
    """Return the share of negatives below each positive (m,), and of positives above each negative.

    Ties count half; the mean of either is the AUC. Source: DeLong et al. 1988, Biometrics 44:837,
    in the fast form by ranks of Sun and Xu 2014, IEEE Signal Processing Letters 21:1389.
    """
    up, down = score[positive], score[~positive]
    ranks = stats.rankdata(np.concatenate([up, down]))
    above = (ranks[: up.size] - stats.rankdata(up)) / down.size
    below = 1 - (ranks[up.size :] - stats.rankdata(down)) / up.size
    return above, below


def delong_variance(positive: Flags, score: Reals, groups: Groups) -> tuple[float, float]:
    """Return the variance of the AUC of images in groups, and its degrees of freedom.

    At least two groups with positives and two with negatives are needed. Where each image is a
    group of its own it is DeLong's variance (Sun and Xu's equations 11 to 13). Source: Obuchowski
    1997, Biometrics 53:567, section 2. The degrees of freedom are those of `variance_of_classes`.
    """
    codes, count = codes_of(groups)
    placed = zip((positive, ~positive), placements(positive, score), strict=True)
    parts = [np.bincount(codes[side], p - p.mean(), count) / p.size for side, p in placed]
    return variance_of_classes(parts, [np.unique(codes[s]).size for s in (positive, ~positive)])


def variance_of_classes(parts: Sequence[Reals], among: Sequence[int]) -> tuple[float, float]:
    """Return the variance of a sum of two classes' errors, and its degrees of freedom.

    `parts` are what each group (groups,) adds to either error, `among` how many groups have images
    of the class: two or more. Groups that have both make the errors depend on each other. The
    degrees of freedom are Welch's, and fewer than there are groups.
    """
    count = parts[0].size
    variances = [k / (k - 1) * float(part @ part) for part, k in zip(parts, among, strict=True)]
    freedoms = [matched_freedom(part, k, _COUNTED) for part, k in zip(parts, among, strict=True)]
    shared = 2 * count / (count - 1) * float(parts[0] @ parts[1])
    total, squares = sum(variances), sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    freedom = min(total**2 / squares, count - 1) if squares > 0 else count - 1
    return max(0.0, total + shared), float(freedom)


def auc_interval(positive: Flags, score: Reals, groups: Groups, confidence: float) -> Interval:
    """Return DeLong's interval of the AUC on the logit scale; it contains the AUC, within (0, 1).

    Its ends are those of the t distribution. An AUC of exactly 0 or 1 has no variance to measure;
    `_separated` bounds it instead. Source: as `delong_variance`; the logit scale is recommended by
    Qin and Hotilovac 2008, Statistical Methods in Medical Research 17:207.
    """
    codes, count = codes_of(groups)
    method = DELONG if count == positive.size else CLUSTERED_DELONG
    value = auc(positive, score)
    if value is None:
        return no_interval(method, "one class only")
    witnesses = [int(np.unique(codes[side]).size) for side in (positive, ~positive)]
    if value in {0.0, 1.0}:
        return _separated(value, min(witnesses), confidence)
    if min(witnesses) < 2:
        whole = "images" if count == positive.size else "groups with images"
        return no_interval(method, f"fewer than two {whole} of one class")
    variance, freedom = delong_variance(positive, score, groups)
    if variance <= ROUNDING:
        return no_interval(method, "no spread: constant predictions, or groups that are all alike")
    reach = stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(variance) / (value * (1 - value))
    low, high = expit(logit(value) - reach), expit(logit(value) + reach)
    note = _doubt(value, min(witnesses))
    return Interval(float(min(low, value)), float(max(high, value)), method, note)


def _doubt(value: float, scarcer: int) -> str | None:
    """Return why DeLong's interval of an AUC may cover less, or more, than it says."""
    if scarcer < LEAST_OF_CLASS:
        return f"interval unreliable: {scarcer} independent images or groups of one class"
    if max(value, 1 - value) > NEAR_PERFECT:
        return f"interval unreliable: AUC within {1 - NEAR_PERFECT:.2g} of the end of its scale"
    return None


def _separated(value: float, scarcer: int, confidence: float) -> Interval:
    """Bound a perfect AUC as the share of the scarcer class on the right side: chosen by us."""
    low, high, _, _ = wilson(value * scarcer, scarcer, confidence)
    return Interval(low, high, "Wilson on the scarcer class")


class Draws(NamedTuple):
    """A statistic over resamples of groups, and what BCa corrects for."""

    values: Reals  # (b,) all finite
    estimate: float  # of all groups, each once
    bias: float  # z0 of Efron 1987; not finite, like the skew, where it cannot be measured
    skew: float  # the acceleration, a
    groups: int
    freedom: float  # degrees of freedom of the spread between groups


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
    eqs. 2.3 and 6.6, with the jackknife over groups and the ends of `expanded_ends`; Field and
    Welsh 2007, JRSS B 69:369 for drawing clusters.
    """
    draws = draw_groups(statistic, groups, resamples, rng)
    return no_interval(BOOTSTRAP, draws) if isinstance(draws, str) else bca(draws, confidence)


def draw_groups(
    statistic: Statistic, groups: Groups, resamples: int, rng: np.random.Generator
) -> Draws | str:
    """Return the statistic over resamples of whole groups, or the reason why there is none."""
    codes, count = codes_of(groups)
    if count < 2:
        return "one group alone: the spread between groups is unknown"
    values = resampled(statistic, codes, count, resamples, rng)
    defined = values[np.isfinite(values)]
    if defined.size < _DEFINED * resamples:
        return f"undefined in {resamples - defined.size} of {resamples} draws"
    if np.ptp(defined) <= 1e-12 * np.abs(defined).max():
        return "no spread: every draw gives the same value"
    estimate = statistic(np.ones((1, codes.size)))[0]
    bias = ndtri(np.mean(defined < estimate) + np.mean(defined == estimate) / 2)
    return Draws(defined, float(estimate), float(bias), *_shape(statistic, codes, count))


def bca(draws: Draws, confidence: float) -> Interval:
    """Return the BCa interval; it is wider than a point and contains the estimate.

    There is none where the draws say otherwise: BCa shifts both ends by twice the bias, and beyond
    the estimate where the bias is larger than half the nominal interval.
    """
    ends = _corrected(expanded_ends(draws.groups, confidence, draws.freedom), draws)
    # of B draws the k-th lies at k / (B + 1) of a new one's chances: Davison and Hinkley 1997, 5.2
    low, high = map(float, np.quantile(draws.values, ndtr(ends), method="weibull"))
    rounding = 1e-12 * float(np.abs(draws.values).max())
    if not low - rounding <= draws.estimate <= high + rounding:
        return no_interval(BOOTSTRAP, "the draws lie to one side of the estimate, which is biased")
    if high - low <= rounding:
        return no_interval(BOOTSTRAP, "no spread: nearly every draw gives the same value")
    note = None
    if abs(draws.bias) > _FAR:
        share = 100 * max(ndtr(draws.bias), ndtr(-draws.bias))
        note = f"interval unreliable: {share:.0f} % of the draws lie to one side of the estimate"
    return Interval(min(low, draws.estimate), max(high, draws.estimate), BOOTSTRAP, note)


def _corrected(ends: Reals, draws: Draws) -> Reals:
    """Return BCa's standard normal ends, rising; a plain one where its own is undefined.

    That is so where bias or skew cannot be measured, and beyond the pole of Efron's equation, which
    few groups reach: their ends are wide.
    """
    bias, skew = draws.bias, draws.skew
    if not (np.isfinite(bias) and np.isfinite(skew)):
        return ends
    shifted = bias + ends
    room = 1 - skew * shifted
    return np.asarray(bias + np.divide(shifted, room, out=ends - bias, where=room > 0))


def resampled(
    statistic: Statistic,
    codes: NDArray[np.intp],
    count: int,
    resamples: int,
    rng: np.random.Generator,
) -> Reals:
    """Return the statistic of each resample (resamples,), a few at a time to bound memory."""
    at_once = max(1, _CELLS // codes.size)
    values = []
    for start in range(0, resamples, at_once):
        b = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(b, count)) + count * np.arange(b)[:, None]
        times = np.bincount(drawn.ravel(), minlength=b * count).reshape(b, count)
        values.append(statistic(times.astype(np.float64)[:, codes]))
    return np.concatenate(values)


def _shape(statistic: Statistic, codes: NDArray[np.intp], count: int) -> tuple[float, int, float]:
    """Return skew, number of groups and degrees of freedom, by the jackknife over groups."""
    without = _left_out(statistic, codes, count)
    deviations = without.mean() - without
    largest = np.abs(deviations).max()
    if largest > 0:
        deviations = deviations / largest  # powers of tiny ones would vanish
    square = np.sum(deviations**2)
    skew = np.sum(deviations**3) / (6 * square**1.5) if square > 0 else np.nan
    return float(skew), count, matched_freedom(deviations, without.size)


def matched_freedom(deviations: Reals, count: int, counted: float = 1.0) -> float:
    """Return the degrees of freedom of the variance of `count` groups' deviations, zeros left out.

    A few groups that weigh much, be they large or extreme, tell less of the spread than as many
    equal ones; groups that all deviate about as much tell more, of which `LEAST_GROUPS` must be
    witness. The degrees of freedom match the variance of the estimated variance under the kurtosis
    of the groups, of whose excess a share of `counted` counts; they are `count` − 1 where it is a
    normal distribution's, and at most twice as many. Sources: Satterthwaite 1946, Biometrics
    Bulletin 2:110; Joanes and Gill 1998, The Statistician 47:183, G2, for the excess.

    >>> matched_freedom(np.array([1.0, -1.0, 1.0, -1.0]), 4)
    3.0
    >>> round(matched_freedom(np.array([9.0] + [-1.0] * 9), 10), 2)
    1.5
    """
    square = float(np.sum(deviations**2))
    if count <= 3 or square == 0:
        return count - 1.0
    plain = count * float(np.sum(deviations**4)) / square**2 - 3
    excess = (count - 1) / ((count - 2) * (count - 3)) * ((count + 1) * plain + 6)
    return (count - 1) / max(0.5 if count >= LEAST_GROUPS else 1.0, 1 + counted * excess / 2)


def expanded_ends(count: int, confidence: float, freedom: float | None = None) -> Reals:
    """Return the standard normal ends (2,) that correct the bootstrap's narrowness for few groups.

    Drawing n groups shows (n − 1) / n of the variance and ignores that it was estimated; the ends
    are those of the t distribution, of n − 1 degrees of freedom unless given, stretched by
    sqrt(n / (n − 1)). Source: Hesterberg 2015, The American Statistician 69:371 (the expanded
    percentile interval).

    >>> expanded_ends(8, 0.95).round(2), expanded_ends(10_000, 0.95).round(2)
    (array([-2.53,  2.53]), array([-1.96,  1.96]))
    """
    reach = stdtrit(count - 1 if freedom is None else freedom, (1 + confidence) / 2)
    return np.asarray(np.sqrt(count / (count - 1)) * np.array([-reach, reach]))


def _left_out(statistic: Statistic, codes: NDArray[np.intp], count: int) -> Reals:
    """Return the statistic without each group, or without each of `_JACKKNIFE` blocks of them."""
    blocks = min(count, _JACKKNIFE)
    at_once = max(1, _CELLS // codes.size)
    values = []
    for start in range(0, blocks, at_once):
        left_out = np.arange(start, min(start + at_once, blocks))
        values.append(statistic((codes[None] % blocks != left_out[:, None]).astype(np.float64)))
    return np.concatenate(values)


def ratio_interval(
    above: tuple[float, Interval], below: tuple[float, Interval]
) -> tuple[float, float]:
    """Return (low, high) of the ratio of two independent shares from each share's own interval.

    Infinity where the lower share may be 0. Source: MOVER-R, Donner and Zou 2012, Statistical
    Methods in Medical Research 21:347, eqs. for θ1/θ2, written without their 0/0.
    """
    (top, (top_low, top_high, *_)), (bottom, (bottom_low, bottom_high, *_)) = above, below
    if top_low is None or top_high is None or bottom_low is None or bottom_high is None:
        raise ValueError("expected two intervals with bounds")
    product = top * bottom
    a, b = top_low * (2 * top - top_low), bottom_high * (2 * bottom - bottom_high)
    low = a / (product + np.sqrt(max(0.0, product**2 - a * b))) if a > 0 else 0.0
    a, b = top_high * (2 * top - top_high), bottom_low * (2 * bottom - bottom_low)
    high = (product + np.sqrt(max(0.0, product**2 - a * b))) / b if b > 0 else np.inf
    return float(low), float(high)
