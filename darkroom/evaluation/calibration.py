"""Calibration: whether predictions mean what they say, in bins of about equally many images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.files import MetricTree
from darkroom.evaluation.intervals import Interval
from darkroom.evaluation.metrics import Settings, statistic_metric
from darkroom.evaluation.statistic import Flags, Groups, Reals, Statistic

BINS = 10
CALIBRATED_DRAWS = 200  # of outcomes; their mean is known to a fifteenth of its spread
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


def weighted_calibration_error(probability: Reals, outcome: Flags) -> Statistic:
    """Return the mean over images of their bin's |mean probability − outcome rate|, in [0, 1].

    It is a function of weights, in the bins of all images; NaN for none. Equal-mass bins: Nguyen
    and O'Connor 2015, arXiv 1508.05154; they are less biased than equal widths (Roelofs et al.
    2022, arXiv 2012.08668).

    >>> probability, outcome = np.array([0.2, 0.2, 0.9]), np.array([False, False, True])
    >>> weighted_calibration_error(probability, outcome)(np.ones((1, 3))).round(3)
    array([0.167])
    """
    bins = equal_mass_bins(probability)
    gaps = np.zeros((outcome.size, bins.max(initial=-1) + 1))
    gaps[np.arange(outcome.size), bins] = probability - outcome

    def statistic(weights: Reals) -> Reals:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))

    return statistic


def error_if_calibrated(probability: Reals, rng: np.random.Generator) -> float | None:
    """Return the calibration error to expect of a model that is perfectly calibrated.

    It is above 0, since each bin's rate is a chance one: the mean over `CALIBRATED_DRAWS` draws of
    outcomes by these very probabilities. Source: consistency resampling, Bröcker and Smith 2007,
    Weather and Forecasting 22:651.
    """
    if not probability.size:
        return None
    bins = equal_mass_bins(probability)
    draws = [np.bincount(bins, probability - (rng.random(bins.size) < probability))
             for _ in range(CALIBRATED_DRAWS)]  # fmt: skip
    return float(np.abs(draws).sum(axis=1).mean() / bins.size)


def calibration_error_metric(
    of: str, probability: Reals, outcome: Flags, groups: Groups, settings: Settings
) -> MetricTree:
    """Return the calibration error as a metric, with what perfect calibration would show."""
    statistic = weighted_calibration_error(probability, outcome)
    tree = statistic_metric("calibration_error", statistic, groups, settings)
    tree |= {"of": of, "bins": int(equal_mass_bins(probability).max(initial=-1) + 1)}
    chance = error_if_calibrated(probability, settings.rng("error if calibrated"))
    if chance is None:
        return tree
    bias = f"biased upwards: perfect calibration would show about {chance:.2g} on as many images"
    note = "; ".join(filter(None, [tree.get("note"), bias]))
    return tree | {"if_calibrated": chance, "note": note}


def reliability(
    name: str,
    predicted: Reals,
    observed: Reals | Flags,
    groups: Groups,
    confidence: float,
    interval: Callable[[Any, Groups, float], Interval],
) -> pd.DataFrame:
    """Return each bin's mean prediction and mean truth, or rate, with the `interval` of that."""
    bins, rows = equal_mass_bins(predicted), []
    for number in range(bins.max(initial=-1) + 1):
        inside = bins == number
        means = predicted[inside].mean(), observed[inside].mean()
        low, high, *_ = interval(observed[inside], groups[inside], confidence)
        rows.append((name, *means, int(inside.sum()), low, high))
    return pd.DataFrame(rows, columns=CALIBRATION).astype({"low": float, "high": float})
