"""Score normalisation: how near two images are, beyond how near each is to the background.

Some pictures (a plain wall, a product on white, a portrait) are near to many. Each image's
similarity to its nearest *background* photographs, which nobody will have copied, tells how much;
half of it, averaged over the two images, is taken off their similarity, as in the DISC21 protocol
(Douze et al. 2021, arXiv 2106.09672). One threshold then serves for every kind of picture.
"""

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

BACKGROUND = Path(__file__).parents[1] / "embedding/background.npy"
NEAREST = 2  # background photographs that are averaged; benchmarks/copies.py
WEIGHT = 0.5
DECIMALS = 6  # float32 sums differ behind this with the order of summation
CHUNK = 4096  # vectors at a time, which keeps what is copied small
LANDMARKS, FEW = 512, 50  # images that tell what is usual in a set; fewer than FEW tell nothing
USUAL = 0.25, 0.05  # quantiles: below these, no pair is of relatives
SPREADS = 4.0  # standard deviations above the mean of unrelated pairs that are unusual
SPARE = 4  # more than are asked for, since float32 may misplace those of nearly equal similarity


def load_background() -> NDArray[np.float32]:
    """Return the bundled network's embeddings of background photographs, (m, d) of unit length."""
    stored = np.load(BACKGROUND, allow_pickle=False).astype(np.float32)  # (m, d)
    return np.array(stored / np.linalg.norm(stored, axis=1, keepdims=True), np.float32)


def nearest_background(
    vectors: NDArray[np.float32], background: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the `count` nearest rows of `background`, and their similarity, nearest first.

    `vectors` is (n, d), `background` (m, d), both of unit length; both results are (n, count), with
    m for `count` where there are fewer. Each row depends on its own vector alone, whatever else is
    in the batch: similarities are rounded, and equal ones go by position.
    """
    count, spare = min(count, len(background)), min(count + SPARE, len(background))
    wide = background.astype(np.float64)
    nearest = np.empty((len(vectors), count), np.int64)
    similarity = np.empty((len(vectors), count))
    for start in range(0, len(vectors), CHUNK):
        part = vectors[start : start + CHUNK]
        _, rows = faiss.knn(part, background, spare, metric=faiss.METRIC_INNER_PRODUCT)
        near = cosine(part[:, None], wide[rows])  # (chunk, spare)
        order = np.lexsort((rows, -near), axis=1)[:, :count]
        nearest[start : start + CHUNK] = np.take_along_axis(rows, order, axis=1)
        similarity[start : start + CHUNK] = np.take_along_axis(near, order, axis=1)
    return nearest, similarity


def mean_of_nearest(similarities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean (n,) of the first columns of `similarities` (n, count), nearest first."""
    return np.asarray(np.round(np.mean(similarities[:, :NEAREST], axis=1), DECIMALS))


def normalise(
    similarity: NDArray[np.float64], of_a: NDArray[np.float64], of_b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return normalised similarities of pairs; `of_a` and `of_b` are to the background.

    >>> normalise(np.array([0.9]), np.array([0.4]), np.array([0.2]))
    array([0.75])
    """
    return np.round(similarity - WEIGHT * (of_a + of_b) / 2, DECIMALS)


def unusual_similarity(
    vectors: NDArray[np.float32], background: NDArray[np.float32] | None
) -> float:
    """Return the normalised similarity above which two images are more alike than their set is.

    In a set of digits or X-rays everything is near to everything; that says of no two images that
    they are relatives. The pairs of the first `LANDMARKS` of `vectors`, (n, d) of unit length in
    the order of their keys (and so a random choice that additions hardly change), are taken for
    normally distributed but for relatives, which are among the nearer ones: mean and spread are
    read off the lower quantiles, and a pair is unusual `SPREADS` above. -1 for fewer than `FEW`.
    """
    some = vectors[:LANDMARKS]
    if len(some) < FEW:
        return -1.0
    foreign = np.zeros(len(some))
    if background is not None:
        foreign = mean_of_nearest(nearest_background(some, background, NEAREST)[1])
    a, b = np.triu_indices(len(some), 1)
    every = normalise((some @ some.T)[a, b].astype(np.float64), foreign[a], foreign[b])
    upper, lower = np.quantile(every, USUAL)
    at_upper, at_lower = ndtri(USUAL)
    spread = (upper - lower) / (at_upper - at_lower)
    return float(np.round(upper - at_upper * spread + SPREADS * spread, 3))


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosines of the vectors in `a` with those in `b`, (..., d) of unit length.

    Summed in float64, vector by vector, and rounded, so that it does not depend on the batch.
    """
    return np.asarray(np.round(np.vecdot(a.astype(np.float64), b.astype(np.float64)), DECIMALS))
