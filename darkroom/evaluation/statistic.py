"""A statistic as a function of weights, which the bootstrap and the jackknife need.

A `Statistic` maps weights (resamples, n), such as how often each image was drawn, to values
(resamples,); NaN where it is undefined.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]
Groups = NDArray[Any]  # (n,) any hashable names, one per image
Statistic = Callable[[Reals], Reals]


def unweighted(statistic: Statistic, n: int) -> float | None:
    """Return the statistic of `n` images that all count once; None where it is undefined."""
    value = float(statistic(np.ones((1, n)))[0])
    return value if np.isfinite(value) else None


def weighted_mean(values: Reals) -> Statistic:
    """Return the mean of `values` (n,) as a function of weights.

    >>> weighted_mean(np.array([1.0, 3.0]))(np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([2., 1.])
    """

    def statistic(weights: Reals) -> Reals:
        with np.errstate(invalid="ignore"):
            return np.asarray(weights @ values / weights.sum(axis=1))

    return statistic


def ties(values: Reals) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the rising order (n,), where each distinct value starts in it, and each image's one.

    >>> [part.tolist() for part in ties(np.array([2.0, 1.0, 2.0]))]
    [[1, 0, 2], [0, 1], [1, 0, 1]]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.argsort(values, kind="stable"), np.cumsum(counts) - counts, inverse


def ranks(values: Reals) -> Reals:
    """Return the rank (n,) of each value, from 1; ties share their mean rank.

    As scipy.stats.rankdata, whose import takes a second.

    >>> ranks(np.array([2.0, 1.0, 2.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def encode_groups(groups: Groups) -> tuple[NDArray[np.intp], int]:
    """Return each image's group as a number (n,), and how many groups there are."""
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    return codes, len(names)
