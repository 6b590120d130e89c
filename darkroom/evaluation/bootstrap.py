"""The cluster bootstrap: BCa intervals of any statistic, drawing whole groups."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from darkroom.evaluation.intervals import Interval, effective_degrees_of_freedom, no_interval
from darkroom.evaluation.statistic import Groups, Reals, Statistic, encode_groups

BOOTSTRAP = "cluster bootstrap, BCa"
UNDEFINED = "undefined in every draw of groups: too few images, as of a class with one alone"
_MAX_WEIGHTS = 100_000  # held at a time: 0.8 MB, which a processor's cache takes
_MAX_BLOCKS = 500  # of the jackknife, which leaves out one group each where they suffice
_MIN_DEFINED = 0.9  # of the resamples must have a value
_MAX_BIAS = 1.0  # z0: 84 % of the resamples on one side of the estimate; chosen by us


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
    if not defined.size:
        return UNDEFINED
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
    blocks = min(count, _MAX_BLOCKS)  # of groups, each left out in turn
    at_once = max(1, _MAX_WEIGHTS // codes.size)
    parts = []
    for start in range(0, blocks, at_once):
        left_out = np.arange(start, min(start + at_once, blocks))
        parts.append(statistic((codes[None] % blocks != left_out[:, None]).astype(np.float64)))
    values = np.concatenate(parts)
    deviations = values.mean() - values
    largest = np.abs(deviations).max()
    if largest > 0:
        deviations = deviations / largest  # powers of tiny ones would vanish
    square = np.sum(deviations**2)
    acceleration = np.sum(deviations**3) / (6 * square**1.5) if square > 0 else np.nan
    return float(acceleration), count, effective_degrees_of_freedom(deviations, values.size)


def expanded_quantiles(count: int, confidence: float, degrees_of_freedom: float) -> Reals:
    """Return the standard normal quantiles (2,) that correct the bootstrap's bias for few groups.

    Drawing n groups shows (n − 1) / n of the variance and ignores that it was estimated; these are
    quantiles of the t distribution, stretched by
    sqrt(n / (n − 1)). Source: Hesterberg 2015, The American Statistician 69:371 (the expanded
    percentile interval).

    >>> expanded_quantiles(8, 0.95, 7).round(2), expanded_quantiles(10_000, 0.95, 9_999).round(2)
    (array([-2.53,  2.53]), array([-1.96,  1.96]))
    """
    t = stdtrit(degrees_of_freedom, (1 + confidence) / 2)
    return np.asarray(np.sqrt(count / (count - 1)) * np.array([-t, t]))
