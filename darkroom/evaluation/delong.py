"""DeLong's confidence interval of the AUC, also of images in groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from darkroom.evaluation.intervals import (
    Interval,
    effective_degrees_of_freedom,
    no_interval,
    wilson,
)
from darkroom.evaluation.roc import auc
from darkroom.evaluation.statistic import Flags, Groups, Reals, encode_groups, ranks

DELONG, CLUSTERED_DELONG = "DeLong, logit", "DeLong for clusters (Obuchowski), logit"
MIN_UNITS_PER_CLASS = 10  # independent images or groups that DeLong's interval needs of each
NEAR_PERFECT = 0.99  # an AUC above it rests on a handful of pairs in the wrong order
MIN_VARIANCE = 1e-24  # of proportions, or of their differences: one below it is rounding
_EXCESS_WEIGHT = 0.5  # of the excess kurtosis on a bounded scale: by trial


def auc_interval(positive: Flags, score: Reals, groups: Groups, confidence: float) -> Interval:
    """Return DeLong's interval of the AUC on the logit scale; it contains the AUC, within (0, 1).

    Its limits are those of the t distribution. An AUC of exactly 0 or 1 has no variance to measure
    and is bounded as a proportion. Source: as `delong_variance`; the logit scale is
    recommended by Qin and Hotilovac 2008, Statistical Methods in Medical Research 17:207.
    """
    codes, count = encode_groups(groups)
    method = DELONG if count == positive.size else CLUSTERED_DELONG
    value = auc(positive, score)
    if value is None:
        return no_interval(method, "one class only")
    independent_units = [int(np.unique(codes[flags]).size) for flags in (positive, ~positive)]
    if value in {0.0, 1.0}:
        # as a proportion of the scarcer class's units: chosen by us
        low, high, *_ = wilson(value * min(independent_units), min(independent_units), confidence)
        return Interval(low, high, "Wilson on the scarcer class")
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


def delong_variance(positive: Flags, score: Reals, groups: Groups) -> tuple[float, float]:
    """Return the variance of the AUC of images in groups, and its degrees of freedom.

    At least two groups with positives and two with negatives are needed. Where each image is a
    group of its own it is DeLong's variance (Sun and Xu's equations 11 to 13). Source: Obuchowski
    1997, Biometrics 53:567, section 2. The degrees of freedom are those of `two_class_variance`.
    """
    codes, count = encode_groups(groups)
    errors = errors_by_group(positive, placements(positive, score), codes, count)
    sizes = [np.unique(codes[flags]).size for flags in (positive, ~positive)]
    return two_class_variance(errors, sizes)


def errors_by_group(
    positive: Flags, values: Sequence[NDArray[Any]], codes: NDArray[np.intp], count: int
) -> list[Reals]:
    """Return what each group (groups,) adds to the error of either class's mean of `values`."""
    pairs = zip((positive, ~positive), values, strict=True)
    return [np.bincount(codes[flags], v - v.mean(), count) / v.size for flags, v in pairs]


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


def placements(positive: Flags, score: Reals) -> tuple[Reals, Reals]:
    """Return the fraction of negatives below each positive (m,), of positives above each negative.

    Ties count half; the mean of either is the AUC. Source: DeLong et al. 1988, Biometrics 44:837,
    in the fast form by ranks of Sun and Xu 2014, IEEE Signal Processing Letters 21:1389.
    """
    positives, negatives = score[positive], score[~positive]
    among = ranks(np.concatenate([positives, negatives]))
    of_positives = (among[: positives.size] - ranks(positives)) / negatives.size
    of_negatives = 1 - (among[positives.size :] - ranks(negatives)) / positives.size
    return of_positives, of_negatives
