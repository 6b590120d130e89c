"""Refine the maps between pictures until one lies on the other (Lucas and Kanade 1981).

Inverse compositional (Baker and Matthews 2004), on the points of strongest gradient alone, with
gain and bias as further unknowns, and with weights that take out what differs (a caption). Levels
are square whatever the picture's shape, since maps are in places of the grid: so many pairs are
refined at once, each as it would be alone.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.matching import GRID

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]  # (2, 3), in places of the grid, of `b` to `a`
Matrices = NDArray[np.float64]  # (n, 2, 3)

LEAST_GRADIENT = 0.5  # grey levels per pixel
MIN_POINTS = 30
STEP_DONE = 0.004  # places; a step below this is the last
HOPELESS, TOO_LITTLE = 0.25, 0.4  # correlation below this after EARLY steps, and at the end
EARLY = 2
SOME = 4  # one error of so many tells how far they spread
AT_ONCE = 64  # pairs


class Level:
    """A picture as a square of smoothed grey, and the strongest gradient in each cell of it."""

    def __init__(self, grey: NDArray[np.generic], side: int, cells: int, sigma: float) -> None:
        """Reduce `grey` to `side` squared and smooth it; `cells` a side give a point each."""
        method = cv2.INTER_AREA if min(grey.shape) >= side else cv2.INTER_LINEAR
        small = cv2.resize(grey.astype(np.float32), (side, side), interpolation=method)
        self.grey: Floats = np.asarray(cv2.GaussianBlur(small, (0, 0), sigma), np.float32)
        right, down = (
            np.asarray(cv2.Sobel(self.grey, cv2.CV_32F, *order, scale=1 / 8), np.float32)
            for order in ((1, 0), (0, 1))
        )
        length = side // cells
        strength = (right * right + down * down)[: cells * length, : cells * length]
        squares = (
            strength.reshape(cells, length, cells, length)
            .transpose(0, 2, 1, 3)
            .reshape(cells * cells, length * length)
        )
        number, best = np.arange(cells * cells), squares.argmax(axis=1)
        row = number // cells * length + best // length
        column = number % cells * length + best % length
        self.usable: NDArray[np.bool_] = squares[number, best] >= LEAST_GRADIENT**2  # (cells²,)
        # Where the points lie, (2, cells²) x, y in places.
        self.at: Floats = (np.stack([column, row]).astype(np.float32) + 0.5) * (GRID / side)
        self.values: Floats = self.grey[row, column]  # (cells²,)
        # What a change of each of eight unknowns does there, (cells², 8): the affine map about the
        # middle (6), gain and bias.
        x, y = (self.at - GRID / 2) / (GRID / 2)
        right, down = (each[row, column] * (side / GRID) for each in (right, down))
        gain = self.values - self.values.mean()
        slopes = [right * x, right * y, right, down * x, down * y, down, gain, np.ones_like(x)]
        self.slopes: Floats = np.stack(slopes, axis=1).astype(np.float32)


def refine(
    a: Sequence[Level],
    b: Sequence[Level],
    matrices: Matrices,
    steps: int,
    support: NDArray[np.bool_] | None = None,
) -> tuple[Matrices, NDArray[np.float64]]:
    """Return the maps with which each of `b` lies on that of `a`, and how far they correlate.

    All levels are of one size. `support` (n, GRID, GRID) limits the points to places that are known
    to match. The correlation is that of the points at the last step, -1 where there is no map.
    """
    parts = [
        _refine(
            a[i : i + AT_ONCE],
            b[i : i + AT_ONCE],
            matrices[i : i + AT_ONCE],
            steps,
            None if support is None else support[i : i + AT_ONCE],
        )
        for i in range(0, len(a), AT_ONCE)
    ]
    if not parts:
        return matrices, np.zeros(0)
    maps, correlations = zip(*parts, strict=True)
    return np.concatenate(maps), np.concatenate(correlations)


def _refine(
    a: Sequence[Level],
    b: Sequence[Level],
    matrices: Matrices,
    steps: int,
    support: NDArray[np.bool_] | None,
) -> tuple[Matrices, NDArray[np.float64]]:
    at, values, slopes, usable = (
        np.stack([getattr(level, name) for level in a])
        for name in ("at", "values", "slopes", "usable")
    )  # (n, 2, points), (n, points), (n, points, 8), (n, points)
    if support is not None:
        column, row = np.minimum(at.astype(np.int64), GRID - 1).swapaxes(0, 1)
        inside = usable & np.take_along_axis(
            support.reshape(len(a), -1), row * GRID + column, axis=1
        )
        enough = inside.sum(axis=1) >= 2 * MIN_POINTS
        usable = np.where(enough[:, None], inside, usable)
    greys = np.stack([level.grey for level in b])
    forward = invert(matrices)  # places of `a` to those of `b`
    correlation = np.full(len(a), -1.0)
    live = np.arange(len(a))
    for step in range(steps):
        if not len(live):
            break
        seen, inside = _sample(greys, live, forward[live], at[live])
        inside &= usable[live]
        held = inside.sum(axis=1)
        weight = inside.astype(np.float32)
        wanted, seen = (_centred(each, weight, held) for each in (values[live], seen))
        product, power, own = (
            (one * other).sum(axis=1)
            for one, other in [(wanted, seen), (seen, seen), (wanted, wanted)]
        )
        power, own = power + 1e-6, own + 1e-6
        alike = product / np.sqrt(power * own)
        lost = (held < MIN_POINTS) | ((alike < HOPELESS) & (step >= EARLY))
        gain = np.where(product > 0, product / power, np.sqrt(own / power))[:, None]
        error = (gain * seen - wanted).astype(np.float32)
        weight = weight / (1 + (error / (2 * _spread(error, inside))) ** 2) ** 2
        change = _solve(slopes[live], weight, error)
        moved = np.zeros((len(live), 2, 3))
        moved[:, :, :2] = np.eye(2) + change[:, [0, 1, 3, 4]].reshape(-1, 2, 2) / (GRID / 2)
        moved[:, :, 2] = GRID / 2 + change[:, [2, 5]] - moved[:, :, :2].sum(axis=2) * (GRID / 2)
        lost |= np.abs(determinant(moved)) < 0.1
        forward[live] = _after(forward[live], invert(moved))
        correlation[live] = np.where(lost, -1.0, alike)
        live = live[~lost & (np.abs(change[:, :6]).max(axis=1) >= STEP_DONE)]
    correlation[correlation < TOO_LITTLE] = -1.0
    bad = ~np.isfinite(forward).all(axis=(1, 2)) | (np.abs(determinant(forward)) < 1e-3)
    correlation[bad] = -1.0
    return invert(forward), correlation


def invert(maps: Matrices) -> Matrices:
    """Return the inverse of affine maps, not a number where there is none."""
    scale = determinant(maps)
    scale = np.where(np.abs(scale) < 1e-9, np.nan, scale)
    inverse = np.empty(maps.shape)
    inverse[:, 0, 0], inverse[:, 0, 1] = maps[:, 1, 1] / scale, -maps[:, 0, 1] / scale
    inverse[:, 1, 0], inverse[:, 1, 1] = -maps[:, 1, 0] / scale, maps[:, 0, 0] / scale
    inverse[:, :, 2] = -_turned(inverse, maps[:, :, 2])
    return inverse


def determinant(maps: Matrices) -> NDArray[np.float64]:
    """Return by how much affine maps enlarge areas, (n,); below 0 where they mirror."""
    return np.asarray(maps[:, 0, 0] * maps[:, 1, 1] - maps[:, 0, 1] * maps[:, 1, 0])


def _after(maps: Matrices, first: Matrices) -> Matrices:
    """Return the maps that do `first`, then `maps`."""
    both = np.empty(maps.shape)
    for column in range(3):
        both[:, :, column] = _turned(maps, first[:, :, column])
    both[:, :, 2] += maps[:, :, 2]
    return both


def _turned(maps: Matrices, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the linear part of maps times vectors (n, 2)."""
    return np.asarray(maps[:, :, 0] * vectors[:, :1] + maps[:, :, 1] * vectors[:, 1:])


def _sample(
    greys: Floats, rows: NDArray[np.int64], forward: Matrices, at: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return what `greys[rows]` hold where `forward` puts the points, and which lie inside."""
    side = greys.shape[1]
    to_pixels = (forward * (side / GRID)).astype(np.float32)
    x, y = (
        to_pixels[:, i, 0, None] * at[:, 0] + to_pixels[:, i, 1, None] * at[:, 1]
        + (to_pixels[:, i, 2, None] - np.float32(0.5))
        for i in (0, 1)
    )  # fmt: skip
    inside = (x >= 0) & (x <= side - 1) & (y >= 0) & (y <= side - 1)
    x, y = (np.where(inside, each, np.float32(0)) for each in (x, y))
    column, row = (np.minimum(each.astype(np.int32), side - 2) for each in (x, y))
    right, down = x - column, y - row
    first = (rows[:, None] * side + row) * side + column
    flat = greys.reshape(-1)
    above = flat[first] + (flat[first + 1] - flat[first]) * right
    below = flat[first + side] + (flat[first + side + 1] - flat[first + side]) * right
    return np.asarray(above + (below - above) * down, np.float32), inside


def _centred(values: Floats, weight: Floats, held: NDArray[np.int64]) -> Floats:
    """Return values without their mean over the points inside, 0 outside."""
    mean = (values * weight).sum(axis=1) / np.maximum(held, 1)
    return np.asarray((values - mean[:, None].astype(np.float32)) * weight, np.float32)


def _spread(error: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return the robust spread of errors, (n, 1): their median size, of some of them."""
    some = inside[:, ::SOME]
    sizes = np.where(some, np.abs(error[:, ::SOME]), np.float32(np.inf))
    sizes.sort(axis=1)
    middle = np.maximum(some.sum(axis=1) - 1, 0) // 2
    median = np.take_along_axis(sizes, middle[:, None], axis=1)
    return np.asarray(np.where(np.isfinite(median), 1.4826 * median + 0.5, 1.0), np.float32)


def _solve(slopes: Floats, weight: Floats, error: Floats) -> NDArray[np.float64]:
    """Return the weighted least squares of the eight unknowns, (n, 8)."""
    weighted = (slopes * weight[:, :, None]).transpose(0, 2, 1)
    normal = (weighted @ slopes).astype(np.float64)
    diagonal = np.arange(8)
    normal[:, diagonal, diagonal] += 1e-4 * normal[:, diagonal, diagonal] + 1e-6
    return np.asarray(
        np.linalg.solve(normal, (weighted @ error[:, :, None]).astype(np.float64))[..., 0]
    )
