"""Match the places of two pictures by their local descriptors, and find the map between them.

A picture is described on a grid of 16 x 16 places (`darkroom.embedding.network`); a descriptor is
nearly the same in a crop, a turn or a mirror image. Two places match where each is the other's
nearest. Matches of an edit carry neighbours to neighbours; chance matches do not (Bian et al. 2017,
"GMS: grid-based motion statistics"). So most candidates are refused before any picture is read.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.embedding.network import LOCAL_SCALE, PLACES

GRID = 16
assert GRID * GRID == PLACES
UNIT = LOCAL_SCALE**2  # product of two equal descriptors
MIN_SIMILARITY = 0.4 * UNIT  # of descriptors, for a match
STRONG = 0.5  # cosine above which a match of averaged places adds to the strength
NEIGHBOUR = 2  # places: matches of neighbours lie so near to each other
# benchmarks/copies.py: 0.9998 of the copies have as many, and a fifth of the other candidates.
MIN_MATCHES, MIN_COHERENT = 45, 20
COARSE = 2  # places a side that are averaged for a first look
MIN_COARSE_STRENGTH = 4.8  # of the matches of those
AT_ONCE = 32  # pairs
REACH = 0.7  # places: so near to where the map puts it lies a match that fits
MIN_FITTING = 8

Descriptors = NDArray[np.int8]  # (PLACES, d)


def coarse(local: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the descriptors of fewer, larger places: (n, PLACES, d) → (n, PLACES / COARSE², d)."""
    side = GRID // COARSE
    split = local.reshape(-1, side, COARSE, side, COARSE, local.shape[-1])
    mean = split.mean(axis=(2, 4), dtype=np.float32).reshape(-1, side * side, local.shape[-1])
    length = np.linalg.norm(mean, axis=2, keepdims=True)
    return np.asarray(mean / np.maximum(length, 1e-6), np.float32)


def coarse_strength(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each pair of coarse descriptors (n, m, d) the strength of their matches, (n,).

    A tenth of the work of `match`, for many pairs at once.
    """
    similarity = a @ b.transpose(0, 2, 1)
    mutual = similarity >= similarity.max(axis=2, keepdims=True)
    mutual &= similarity >= similarity.max(axis=1, keepdims=True)
    beyond = np.maximum(similarity - STRONG, 0)
    return np.asarray((beyond * mutual).sum(axis=(1, 2)), np.float32)


class Matches(NamedTuple):
    """Places of `a` and of `b` that are each other's nearest."""

    a: NDArray[np.int64]  # (m,) in [0, PLACES)
    at: NDArray[np.float32]  # (m, 2) x, y of where in `b`, in places, the first's centre at 0.5
    coherent: int  # neighbours among the matches that match neighbours


class Map(NamedTuple):
    """An affine map of places of `b` to places of `a`."""

    matrix: NDArray[np.float64]  # (2, 3), in places, of which the first has its centre at 0.5
    fitting: int  # matches that fit
    support: NDArray[np.bool_]  # (GRID, GRID), where in `a` they lie, or next to them


def match(a: Sequence[Descriptors], b: Sequence[Descriptors]) -> list[Matches]:
    """Return the matches of each pair, as it would have them alone."""
    found: list[Matches] = []
    for start in range(0, len(a), AT_ONCE):
        one, other = (np.stack(each[start : start + AT_ONCE]).astype(np.float32) for each in (a, b))
        similarity = one @ other.transpose(0, 2, 1)  # (n, PLACES of a, PLACES of b)
        to_b = similarity.argmax(axis=2)
        nearest = np.take_along_axis(similarity, to_b[:, :, None], axis=2)[:, :, 0]
        backward = np.take_along_axis(similarity.max(axis=1), to_b, axis=1)
        mutual = (nearest >= backward) & (nearest >= MIN_SIMILARITY)
        at, coherent = _peaks(similarity, to_b), _coherent(to_b, mutual)
        for number, known in enumerate(mutual):
            chosen = np.flatnonzero(known)
            found.append(Matches(chosen, at[number, chosen], int(coherent[number])))
    return found


def _coherent(to_b: NDArray[np.int64], mutual: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many neighbours among the matches match neighbours, (n,)."""
    row, column = (part.reshape(-1, GRID, GRID) for part in np.divmod(to_b, GRID))
    known = mutual.reshape(-1, GRID, GRID)
    coherent = np.zeros(len(to_b), np.int64)
    for one, other in [(np.s_[:, :, 1:], np.s_[:, :, :-1]), (np.s_[:, 1:], np.s_[:, :-1])]:
        near = abs(row[one] - row[other]) <= NEIGHBOUR
        near &= abs(column[one] - column[other]) <= NEIGHBOUR
        coherent += (near & known[one] & known[other]).sum(axis=(1, 2))
    return coherent


def _peaks(similarity: NDArray[np.float32], to_b: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return where in `b` each place's nearest lies, (n, PLACES, 2) x, y.

    It is the peak of a parabola through three similarities.
    """
    row, column = np.divmod(to_b, GRID)
    pair = np.arange(len(to_b))[:, None]
    place = np.arange(to_b.shape[1])

    def offset(near: NDArray[np.int64], step: int) -> NDArray[np.float32]:
        within = (near > 0) & (near < GRID - 1)
        before, middle, after = (
            similarity[pair, place, np.where(within, to_b + d, to_b)] for d in (-step, 0, step)
        )
        bend = np.minimum(before - 2 * middle + after, np.float32(-1e-3))
        return np.asarray(np.clip(0.5 * (before - after) / bend, -0.5, 0.5) * within, np.float32)

    x, y = column + 0.5 + offset(column, 1), row + 0.5 + offset(row, GRID)
    return np.stack([x, y], axis=2).astype(np.float32)


def find_map(matches: Matches, again: bool = False) -> Map | None:
    """Return the map that most matches fit (RANSAC), None where too few do.

    `again` takes a slower estimate, for which near misses count as well (MAGSAC, Barath et al.
    2019).
    """
    if len(matches.a) < MIN_FITTING:
        return None
    row, column = np.divmod(matches.a, GRID)
    of_a = np.stack([column + 0.5, row + 0.5], axis=1).astype(np.float32)
    # What is found is refined on pixels, not on the matches.
    method, most, refined = (cv2.USAC_MAGSAC, 2000, 10) if again else (cv2.RANSAC, 500, 0)
    matrix, inside = cv2.estimateAffine2D(
        matches.at, of_a, method=method, ransacReprojThreshold=REACH, maxIters=most,
        refineIters=refined,
    )  # fmt: skip
    if matrix is None or inside.sum() < MIN_FITTING or not np.isfinite(matrix).all():
        return None
    support = np.zeros(PLACES, np.uint8)
    support[matches.a[inside.ravel() > 0]] = 1
    near = np.asarray(cv2.dilate(support.reshape(GRID, GRID), np.ones((3, 3), np.uint8)), np.bool_)
    return Map(np.asarray(matrix, np.float64), int(inside.sum()), near)


def in_pixels(
    matrix: NDArray[np.float64], size_a: tuple[int, int], size_b: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the map of pixels of `b` to those of `a`, (2, 3); sizes are (height, width).

    Pixels are counted from the centre of the first, as OpenCV does.
    """
    to_a, of_b = np.array(size_a[::-1]) / GRID, GRID / np.array(size_b[::-1])
    linear = matrix[:, :2] * to_a[:, None] * of_b
    offset = to_a * (matrix[:, 2] + matrix[:, :2] @ of_b / 2) - 0.5
    return np.concatenate([linear, offset[:, None]], axis=1)


def _to_pixels(size: tuple[int, int]) -> NDArray[np.float64]:
    return np.array([[size[1] / GRID, 0, -0.5], [0, size[0] / GRID, -0.5], [0, 0, 1]])


def _to_places(size: tuple[int, int]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(_to_pixels(size)))
