"""Match the places of two pictures by their local descriptors, and find the map between them.

A picture is described on a grid of 16 x 16 places (`darkroom.embedding.network`); a descriptor is
nearly the same in a crop, a turn or a mirror image. Two places match where each is the other's
nearest. Matches of an edit carry neighbours to neighbours; chance matches do not (Bian et al. 2017,
"GMS: grid-based motion statistics"). So most candidates are refused before any picture is read.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.embedding.network import LOCAL_SCALE, PLACES

GRID = 16
assert GRID * GRID == PLACES
UNIT = LOCAL_SCALE**2  # product of two equal descriptors
MIN_SIMILARITY = 0.4 * UNIT  # of descriptors, for a match
STRONG = 0.5 * UNIT  # similarity above this adds to the strength
NEIGHBOUR = 2  # places: matches of neighbours lie so near to each other
MIN_STRENGTH, MIN_COHERENT = 12.0, 16  # benchmarks/copies.py: 0.9998 of the copies, 0.4 of others
COARSE = 2  # places a side that are averaged for a first look
MIN_COARSE_STRENGTH = 4.5  # the same of those
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
    beyond = np.maximum(similarity - STRONG / UNIT, 0)
    return np.asarray((beyond * mutual).sum(axis=(1, 2)), np.float32)


class Matches(NamedTuple):
    """Places of `a` and of `b` that match."""

    a: NDArray[np.int64]  # (m,) in [0, PLACES)
    b: NDArray[np.int64]
    similarity: NDArray[np.float32]  # (PLACES, PLACES), products of all places of `a` with `b`'s
    strength: float  # sum over the matches of what their cosine exceeds 0.5
    coherent: int  # neighbours among the matches that match neighbours


class Map(NamedTuple):
    """An affine map of places of `b` to places of `a`."""

    matrix: NDArray[np.float64]  # (2, 3), in places, of which the first has its centre at 0.5
    fitting: int  # matches that fit
    support: NDArray[np.bool_] | None = None  # (GRID, GRID), where in `a` they lie, or next to them


def match(a: Descriptors, b: Descriptors) -> Matches:
    """Return the places that are each other's nearest."""
    similarity = a.astype(np.float32) @ b.astype(np.float32).T
    to_b, to_a = similarity.argmax(axis=1), similarity.argmax(axis=0)
    places = np.arange(PLACES)
    nearest = similarity[places, to_b]
    mutual = (to_a[to_b] == places) & (nearest >= MIN_SIMILARITY)
    strength = float(np.maximum(nearest[mutual] - STRONG, 0).sum()) / UNIT
    row, column = (part.reshape(GRID, GRID) for part in np.divmod(to_b, GRID))
    known = mutual.reshape(GRID, GRID)
    coherent = 0
    for one, other in [(np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])]:
        near = abs(row[one] - row[other]) <= NEIGHBOUR
        near &= abs(column[one] - column[other]) <= NEIGHBOUR
        coherent += int((near & known[one] & known[other]).sum())
    chosen = np.flatnonzero(mutual)
    return Matches(chosen, to_b[chosen], similarity, strength, coherent)


def find_map(matches: Matches, again: bool = False) -> Map | None:
    """Return the map that most matches fit (RANSAC), None where too few do.

    `again` takes a slower estimate, for which near misses count as well (MAGSAC, Barath et al.
    2019).
    """
    if len(matches.a) < MIN_FITTING:
        return None
    row, column = np.divmod(matches.a, GRID)
    of_a = np.stack([column + 0.5, row + 0.5], axis=1).astype(np.float32)
    method, most = (cv2.USAC_MAGSAC, 2000) if again else (cv2.RANSAC, 500)
    matrix, inside = cv2.estimateAffine2D(
        _refined(matches), of_a, method=method, ransacReprojThreshold=REACH, maxIters=most
    )
    if matrix is None or inside.sum() < MIN_FITTING:
        return None
    support = np.zeros(PLACES, np.uint8)
    support[matches.a[inside.ravel() > 0]] = 1
    near = np.asarray(cv2.dilate(support.reshape(GRID, GRID), np.ones((3, 3), np.uint8)), np.bool_)
    return Map(np.asarray(matrix, np.float64), int(inside.sum()), near)


def _refined(matches: Matches) -> NDArray[np.float32]:
    """Return where in `b` the matches lie, (m, 2) x, y: the peak of a parabola through three."""
    of_a = matches.similarity[matches.a].reshape(-1, GRID, GRID)
    row, column = np.divmod(matches.b, GRID)
    number = np.arange(len(of_a))
    middle = of_a[number, row, column]

    def offset(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float32]:
        bend = np.minimum(before - 2 * middle + after, -1e-3)
        return np.asarray(np.clip(0.5 * (before - after) / bend, -0.5, 0.5), np.float32)

    last = GRID - 1
    left, right = (of_a[number, row, np.clip(column + d, 0, last)] for d in (-1, 1))
    above, below = (of_a[number, np.clip(row + d, 0, last), column] for d in (-1, 1))
    x = np.where((column > 0) & (column < last), offset(left, right), 0)
    y = np.where((row > 0) & (row < last), offset(above, below), 0)
    return np.stack([column + 0.5 + x, row + 0.5 + y], axis=1).astype(np.float32)


def in_pixels(
    matrix: NDArray[np.float64], size_a: tuple[int, int], size_b: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the map of pixels of `b` to those of `a`, (2, 3); sizes are (height, width).

    Pixels are counted from the centre of the first, as OpenCV does.
    """
    return np.asarray(
        (_to_pixels(size_a) @ np.vstack([matrix, [0, 0, 1]]) @ _to_places(size_b))[:2]
    )


def in_places(
    matrix: NDArray[np.floating], size_a: tuple[int, int], size_b: tuple[int, int]
) -> NDArray[np.float64]:
    """Return what `in_pixels` has made of the map that is returned."""
    to_a, of_b = _to_places(size_a), _to_pixels(size_b)
    return np.asarray((to_a @ np.vstack([matrix, [0, 0, 1]]) @ of_b)[:2])


def _to_pixels(size: tuple[int, int]) -> NDArray[np.float64]:
    return np.array([[size[1] / GRID, 0, -0.5], [0, size[0] / GRID, -0.5], [0, 0, 1]])


def _to_places(size: tuple[int, int]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(_to_pixels(size)))
