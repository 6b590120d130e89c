"""Confidence intervals, each with the name of its method, or with the reason why there is none.

Images of one group (copies, views of one object, patches of one photograph) are not independent:
every interval here takes the group of each image and falls back to the ordinary one when each group
is a single image.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from darkroom.evaluation.statistic import Flags, Groups, Reals, encode_groups

# With 20 groups intervals of 95 % cover about 94 to 96 %, with 3 the bootstrap's cover 69 to 87 %;
# groups of very unequal size or with heavy tails need more: benchmarks/coverage.py.
MIN_GROUPS = 20


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
    margin = float(stdtrit(count - 1, (1 + confidence) / 2) * standard_error)
    return Interval(float(values.mean()) - margin, float(values.mean()) + margin, "t over groups")


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
