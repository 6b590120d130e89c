"""Earth mover's distance between distributions over ordered, evenly spaced score bins."""

import numpy as np

from darkroom.evaluation.statistic import Reals


def emd_r1(target: Reals, predicted: Reals) -> Reals:
    """Return the mean of |ΔCDF| over bins, per image: NIMA's table of results.

    `target` and `predicted` are (n, bins), rows sum to 1; the result is (n,), from 0 (equal) to
    (bins − 1) / bins (all weight at opposite ends). Times `bins` it is the first Wasserstein
    distance, in bins. Source: Talebi and Milanfar 2018 (NIMA, arXiv 1709.05424), equation 1, r = 1.

    >>> emd_r1(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    array([0.5])
    """
    return np.asarray(np.abs(_cdf_difference(target, predicted)).mean(axis=-1))


def emd_r2(target: Reals, predicted: Reals) -> Reals:
    """Return sqrt(mean over bins of ΔCDF²), per image: the training loss.

    `target` and `predicted` are (n, bins), rows sum to 1; the result is (n,), from 0 (equal) to
    sqrt((bins − 1) / bins). Source: as `emd_r1`, with r = 2.

    >>> emd_r2(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).round(3)
    array([0.707])
    """
    return np.asarray(np.sqrt(np.square(_cdf_difference(target, predicted)).mean(axis=-1)))


def _cdf_difference(target: Reals, predicted: Reals) -> Reals:
    """Return ΔCDF (n, bins), antisymmetric to the last bit, so that the distance is symmetric."""
    if target.shape != predicted.shape:
        raise ValueError(f"expected equal shapes (n, bins), got {target.shape}, {predicted.shape}")
    return np.cumsum(target, axis=-1) - np.cumsum(predicted, axis=-1)
