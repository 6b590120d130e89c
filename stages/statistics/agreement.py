"""How well predicted scores agree with true ones, plainly and under weights for the bootstrap.

A `Statistic` maps weights (resamples, n), such as how often each image was drawn, to values
(resamples,); NaN where it is undefined.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Reals = NDArray[np.float64]
Statistic = Callable[[Reals], Reals]

_FLAT = 1e-12  # variance below this share of the mean square is rounding, not variation


def plcc(target: Reals, predicted: Reals) -> float | None:
    """Return Pearson's linear correlation of two (n,), in [−1, 1]; None where one is constant.

    >>> round(plcc(np.array([1.0, 2.0, 4.0]), np.array([4.0, 2.0, 3.0])), 3)
    -0.327
    """
    if is_constant(target) or is_constant(predicted):
        return None
    return _clip(stats.pearsonr(target, predicted).statistic)


def srcc(target: Reals, predicted: Reals) -> float | None:
    """Return Spearman's rank correlation of two (n,), in [−1, 1]; None where one is constant.

    Ties share their mean rank.

    >>> round(srcc(np.array([1.0, 2.0, 4.0]), np.array([4.0, 2.0, 3.0])), 3)
    -0.5
    """
    if is_constant(target) or is_constant(predicted):
        return None
    return plcc(stats.rankdata(target), stats.rankdata(predicted))


def rmse(target: Reals, predicted: Reals) -> float | None:
    """Return the root of the mean squared difference of two (n,), in their units; None for n = 0.

    >>> rmse(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    1.0
    """
    return float(np.sqrt(np.mean((target - predicted) ** 2))) if target.size else None


def is_constant(values: Reals) -> bool:
    """Return whether no correlation exists: fewer than two values, or all equal but for rounding.

    >>> is_constant(np.array([0.5, 0.5]))
    True
    """
    centred = values - values.mean() if values.size else values
    return bool(values.size < 2 or np.mean(centred**2) <= _FLAT * np.mean(values**2))


def weighted_mean(values: Reals) -> Statistic:
    """Return the mean of `values` (n,) as a function of weights.

    >>> weighted_mean(np.array([1.0, 3.0]))(np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([2., 1.])
    """

    def statistic(weights: Reals) -> Reals:
        with np.errstate(invalid="ignore"):
            return np.asarray(weights @ values / weights.sum(axis=1))

    return statistic


def weighted_rmse(target: Reals, predicted: Reals) -> Statistic:
    """Return `rmse` as a function of weights."""
    mean = weighted_mean((target - predicted) ** 2)
    return lambda weights: np.asarray(np.sqrt(mean(weights)))


def weighted_plcc(target: Reals, predicted: Reals) -> Statistic:
    """Return `plcc` as a function of weights."""
    return lambda weights: _correlation(weights, target[None], predicted[None])


def weighted_srcc(target: Reals, predicted: Reals) -> Statistic:
    """Return `srcc` as a function of weights: ranks are those within each resample."""
    rank_target, rank_predicted = weighted_ranks(target), weighted_ranks(predicted)
    return lambda weights: _correlation(weights, rank_target(weights), rank_predicted(weights))


def weighted_ranks(values: Reals) -> Callable[[Reals], Reals]:
    """Return a function from weights (b, n) to midranks (b, n), counting an image `weight` times.

    Ranks start from 0.5 rather than 1, which no correlation sees.

    >>> weighted_ranks(np.array([5.0, 7.0]))(np.array([[2.0, 1.0]]))
    array([[1. , 2.5]])
    """
    order, starts, inverse = ties(values)

    def ranks(weights: Reals) -> Reals:
        tied = np.add.reduceat(weights[:, order], starts, axis=1)  # (b, distinct values)
        return (np.cumsum(tied, axis=1) - tied / 2)[:, inverse]

    return ranks


def ties(values: Reals) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the rising order (n,), where each distinct value starts in it, and each image's one.

    >>> [part.tolist() for part in ties(np.array([2.0, 1.0, 2.0]))]
    [[1, 0, 2], [0, 1], [1, 0, 1]]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.argsort(values, kind="stable"), np.cumsum(counts) - counts, inverse


def _correlation(weights: Reals, x: Reals, y: Reals) -> Reals:
    """Return Pearson's correlation per resample: weights (b, n); x and y (b or 1, n)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weights / weights.sum(axis=1, keepdims=True)
        x_centred = x - (share * x).sum(axis=1, keepdims=True)
        y_centred = y - (share * y).sum(axis=1, keepdims=True)
        x_square = (share * x_centred**2).sum(axis=1)
        y_square = (share * y_centred**2).sum(axis=1)
        flat = (x_square <= _FLAT * (share * x**2).sum(axis=1)) | (
            y_square <= _FLAT * (share * y**2).sum(axis=1)
        )
        value = (share * x_centred * y_centred).sum(axis=1) / np.sqrt(x_square * y_square)
    return np.asarray(np.where(flat, np.nan, np.clip(value, -1, 1)))


def _clip(value: float) -> float:
    return float(min(1.0, max(-1.0, value)))
