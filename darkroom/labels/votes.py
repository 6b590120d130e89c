"""What votes per score bin mean on the scale."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from darkroom.core.params.scale import Scale


def bin_scores(scale: Scale) -> NDArray[np.float64]:
    """Return the score that each bin stands for: evenly spaced, both ends included.

    >>> bin_scores(Scale(low=1, high=5, bins=5))
    array([1., 2., 3., 4., 5.])
    """
    return np.linspace(scale.low, scale.high, scale.bins)


def mean_of_votes(votes: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Return the mean score of votes (..., bins) as (...); NaN where there are none.

    Products are summed before they are divided, so that equal means stay equal.

    >>> mean_of_votes([[0, 1, 1], [0, 0, 0]], [1, 2, 3])
    array([2.5, nan])
    """
    counts = np.asarray(votes, np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts @ np.asarray(scores, np.float64) / counts.sum(axis=-1))
