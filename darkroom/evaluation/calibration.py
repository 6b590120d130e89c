"""Calibration: whether predictions mean what they say, in bins of about equally many images."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from darkroom.core.files import MetricTree
from darkroom.evaluation.agreement import Statistic
from darkroom.evaluation.intervals import Groups, Interval, codes_of, no_interval, share_interval
from darkroom.evaluation.metrics import Settings, bootstrap_figure
from darkroom.evaluation.roc import Flags

Reals = NDArray[np.float64]

BINS = 10
IMAGINED = 200  # perfectly calibrated test splits; their mean is known to a fifteenth of its spread
CALIBRATION = ["class", "predicted", "observed", "n", "low", "high"]


def equal_mass_bins(predicted: Reals) -> NDArray[np.intp]:
    """Return each image's bin from 0: (n,), of about equally many images by prediction.

    Equal predictions share the bin of the lowest ranked, so that there may be fewer than `BINS`.

    >>> equal_mass_bins(np.array([0.1, 0.1, 0.9]))
    array([0, 0, 1])
    """
    below = np.searchsorted(np.sort(predicted), predicted)  # how many images are, (n,)
    _, bins = np.unique(below * BINS // max(1, predicted.size), return_inverse=True)
    return np.asarray(bins)


def calibration_error(probability: Reals, right: Flags) -> float | None:
    """Return the mean over images of their bin's |mean probability − share right|, in [0, 1].

    Equal-mass bins: Nguyen and O'Connor 2015, arXiv 1508.05154; they are less biased than equal
    widths (Roelofs et al. 2022, arXiv 2012.08668). None for no images.

    >>> round(calibration_error(np.array([0.2, 0.2, 0.9]), np.array([False, False, True])), 3)
    0.167
    """
    if not probability.size:
        return None
    return float(weighted_calibration_error(probability, right)(np.ones((1, right.size)))[0])


def weighted_calibration_error(probability: Reals, right: Flags) -> Statistic:
    """Return `calibration_error` as a function of weights, in the bins of all images."""
    bins = equal_mass_bins(probability)
    gaps = np.zeros((right.size, bins.max(initial=-1) + 1))
    gaps[np.arange(right.size), bins] = probability - right

    def statistic(weights: Reals) -> Reals:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))

    return statistic


def error_if_calibrated(probability: Reals, rng: np.random.Generator) -> float | None:
    """Return the calibration error to expect of a model that is perfectly calibrated.

    It is above 0, since each bin's share is a chance one: the mean over `IMAGINED` draws of what
    is right, by these very probabilities. Source: consistency resampling, Bröcker and Smith 2007,
    Weather and Forecasting 22:651.
    """
    if not probability.size:
        return None
    bins = equal_mass_bins(probability)
    draws = [np.bincount(bins, probability - (rng.random(bins.size) < probability))
             for _ in range(IMAGINED)]  # fmt: skip
    return float(np.abs(draws).sum(axis=1).mean() / bins.size)


def calibration_figure(
    of: str, probability: Reals, right: Flags, groups: Groups, settings: Settings
) -> MetricTree:
    """Return the calibration error as a figure, with what perfect calibration would show."""
    value = calibration_error(probability, right)
    statistic = weighted_calibration_error(probability, right)
    found = bootstrap_figure("calibration_error", value, statistic, groups, settings)
    found |= {"of": of, "bins": int(equal_mass_bins(probability).max(initial=-1) + 1)}
    chance = error_if_calibrated(probability, settings.rng("error if calibrated"))
    if chance is None:
        return found
    bias = f"biased upwards: perfect calibration would show about {chance:.2g} on as many images"
    note = "; ".join(filter(None, [found.get("note"), bias]))
    return found | {"if_calibrated": chance, "note": note}


def reliability_of_shares(
    name: str, probability: Reals, right: Flags, groups: Groups, confidence: float
) -> pd.DataFrame:
    """Return each bin's mean probability and the share right among it, with Wilson's interval."""

    def interval(members: Flags) -> Interval:
        return share_interval(right[members], groups[members], confidence)

    return _rows(name, probability, right.astype(np.float64), interval)


def reliability_of_means(
    name: str, predicted: Reals, target: Reals, groups: Groups, confidence: float
) -> pd.DataFrame:
    """Return each bin's mean prediction and mean truth, with the t interval of the latter."""

    def interval(members: Flags) -> Interval:
        return mean_interval(target[members], groups[members], confidence)

    return _rows(name, predicted, target, interval)


def mean_interval(values: Reals, groups: Groups, confidence: float) -> Interval:
    """Return the interval of the mean of `values` (n,): Student's t, with groups as the draws.

    The variance is that of the groups' sums of residuals (Kish 1965, of a ratio mean);
    with single images for groups it is the ordinary one.

    >>> [round(end, 3) for end in mean_interval(np.array([1.0, 2, 3]), np.arange(3), 0.95)[:2]]
    [-0.484, 4.484]
    """
    codes, count = codes_of(groups)
    if count < 2:
        return no_interval("t over groups", "one group alone: the spread between is unknown")
    sums = np.bincount(codes, values - values.mean())  # (groups,)
    spread = np.sqrt(count / (count - 1) * np.sum(sums**2)) / values.size
    if spread <= 1e-12 * np.abs(values).max():
        return no_interval("t over groups", "no spread: equal values, or groups that are all alike")
    reach = float(stats.t.ppf((1 + confidence) / 2, count - 1) * spread)
    return Interval(float(values.mean()) - reach, float(values.mean()) + reach, "t over groups")


def _rows(
    name: str, predicted: Reals, observed: Reals, interval: Callable[[Flags], Interval]
) -> pd.DataFrame:
    bins, rows = equal_mass_bins(predicted), []
    for number in range(bins.max(initial=-1) + 1):
        members = bins == number
        means = predicted[members].mean(), observed[members].mean()
        rows.append((name, *means, int(members.sum()), *interval(members)[:2]))
    return pd.DataFrame(rows, columns=CALIBRATION).astype({"low": float, "high": float})
