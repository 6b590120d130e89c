"""How well predicted scores agree with true ones, plainly and under weights for the bootstrap."""

from collections.abc import Callable

import numpy as np

from darkroom.evaluation.statistic import Reals, Statistic, ranks, ties, weighted_mean

_MIN_VARIANCE = 1e-12  # one below it, relative to the mean square, is rounding


def plcc(target: Reals, predicted: Reals) -> float | None:
    """Return Pearson's linear correlation of two (n,), in [−1, 1]; None where one is constant.

    >>> round(plcc(np.array([1.0, 2.0, 4.0]), np.array([4.0, 2.0, 3.0])), 3)
    -0.327
    """
    if is_constant(target) or is_constant(predicted):
        return None
    one, other = (
        each / np.linalg.norm(each)
        for each in (target - target.mean(), predicted - predicted.mean())
    )
    return float(min(1.0, max(-1.0, one @ other)))


def srcc(target: Reals, predicted: Reals) -> float | None:
    """Return Spearman's rank correlation of two (n,), in [−1, 1]; None where one is constant.

    Ties share their mean rank.

    >>> round(srcc(np.array([1.0, 2.0, 4.0]), np.array([4.0, 2.0, 3.0])), 3)
    -0.5
    """
    if is_constant(target) or is_constant(predicted):
        return None
    return plcc(ranks(target), ranks(predicted))


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
    return bool(values.size < 2 or np.mean(centred**2) <= _MIN_VARIANCE * np.mean(values**2))


def weighted_rmse(target: Reals, predicted: Reals) -> Statistic:
    """Return `rmse` as a function of weights."""
    mean = weighted_mean((target - predicted) ** 2)
    return lambda weights: np.asarray(np.sqrt(mean(weights)))


def weighted_plcc(target: Reals, predicted: Reals) -> Statistic:
    """Return `plcc` as a function of weights."""
    x, y = (values - values.mean() if values.size else values for values in (target, predicted))
    moments = np.column_stack([np.ones_like(x), x, y, x**2, y**2, x * y])  # (n, 6)
    raw = np.column_stack([target**2, predicted**2])  # (n, 2)

    def statistic(weights: Reals) -> Reals:
        sums = (weights @ moments).T  # (6, b)
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y, xx, yy, xy = sums[1:] / sums[0]
            squares = (weights @ raw).T / sums[0]
            return _correlation(xx - x**2, yy - y**2, xy - x * y, squares)

    return statistic


def weighted_srcc(target: Reals, predicted: Reals) -> Statistic:
    """Return `srcc` as a function of weights: ranks are those within each resample."""
    rank_target, rank_predicted = weighted_ranks(target), weighted_ranks(predicted)

    def statistic(weights: Reals) -> Reals:
        total = weights.sum(axis=1)
        middle = total[:, None] / 2  # the mean of ranks that start from 0.5
        x, y = rank_target(weights) - middle, rank_predicted(weights) - middle
        with np.errstate(invalid="ignore", divide="ignore"):
            xx, yy, xy = (
                np.einsum("bn,bn->b", weights * one, other) / total
                for one, other in ((x, x), (y, y), (x, y))
            )
            return _correlation(xx, yy, xy, np.tile(total**2, (2, 1)))

    return statistic


def weighted_ranks(values: Reals) -> Callable[[Reals], Reals]:
    """Return a function from weights (b, n) to midranks (b, n), counting an image `weight` times.

    Ranks start from 0.5 rather than 1, which no correlation sees.

    >>> weighted_ranks(np.array([5.0, 7.0]))(np.array([[2.0, 1.0]]))
    array([[1. , 2.5]])
    """
    order, starts, inverse = ties(values)
    distinct = starts.size == order.size  # then there is nothing to sum, which takes most time

    def ranks(weights: Reals) -> Reals:
        tied = weights[:, order]
        if not distinct:
            tied = np.add.reduceat(tied, starts, axis=1)  # (b, distinct values)
        return (np.cumsum(tied, axis=1) - tied / 2)[:, inverse]

    return ranks


def _correlation(xx: Reals, yy: Reals, xy: Reals, squares: Reals) -> Reals:
    """Return xy / √(xx·yy) per resample; NaN where a variance is rounding beside `squares` (2, b).

    `xx` and `yy` are variances, `xy` is the covariance, (b,) each.
    """
    constant = (xx <= _MIN_VARIANCE * squares[0]) | (yy <= _MIN_VARIANCE * squares[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = xy / np.sqrt(xx * yy)
    return np.asarray(np.where(constant, np.nan, np.clip(value, -1, 1)))
