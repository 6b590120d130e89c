"""Refine the map between two pictures until one lies on the other (Lucas and Kanade 1981).

Inverse compositional (Baker and Matthews 2004), on the points of strongest gradient alone, with
gain and bias as further unknowns, and with weights that take out what differs (a caption).
"""

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.matching import GRID

Level = NDArray[np.float32]  # (height, width), smoothed grey
Matrix = NDArray[np.float64]  # (2, 3), in places of the grid, of `b` to `a`

LEAST_GRADIENT = 0.5  # grey levels per pixel
MIN_POINTS = 30
STEP_DONE = 0.004  # places; a step below this is the last
HOPELESS, TOO_LITTLE = 0.25, 0.4  # correlation below this after EARLY steps, and at the end
EARLY = 2


class Points:
    """The strongest gradient in each small square of a picture."""

    def __init__(self, level: Level, square_px: int) -> None:
        """Keep the picture; the points are sought when first asked for."""
        self.level, self.square_px = level, square_px

    @cached_property
    def at(self) -> NDArray[np.float64]:
        """Return where they lie, (n, 2) x, y in places."""
        return np.asarray((self._pixels[::-1].T + 0.5) * GRID / np.array(self.level.shape[::-1]))

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Return the grey there, (n,)."""
        return np.asarray(self.level[tuple(self._pixels)], np.float64)

    @cached_property
    def slopes(self) -> NDArray[np.float64]:
        """Return what a change of each of eight unknowns does there, (n, 8).

        The affine map about the middle (6), gain and bias.
        """
        height, width = self.level.shape
        rows, columns = self._pixels
        right = self._gradients[0][rows, columns] * (width / GRID)  # per place
        down = self._gradients[1][rows, columns] * (height / GRID)
        x, y = (self.at - GRID / 2).T / (GRID / 2)
        gain = self.values - self.values.mean() if len(self.values) else self.values
        columns = [right * x, right * y, right, down * x, down * y, down, gain, np.ones_like(x)]
        return np.stack(columns, axis=1)

    @cached_property
    def _gradients(self) -> tuple[Level, Level]:
        return (
            np.asarray(cv2.Sobel(self.level, cv2.CV_32F, 1, 0, scale=1 / 8), np.float32),
            np.asarray(cv2.Sobel(self.level, cv2.CV_32F, 0, 1, scale=1 / 8), np.float32),
        )

    @cached_property
    def _pixels(self) -> NDArray[np.int64]:  # (2, n) rows, columns
        side = self.square_px
        rows, columns = (length // side for length in self.level.shape)
        across, down = self._gradients
        strength = (across * across + down * down)[: rows * side, : columns * side]
        squares = (
            strength.reshape(rows, side, columns, side)
            .transpose(0, 2, 1, 3)
            .reshape(rows * columns, side * side)
        )
        best = squares.argmax(axis=1) if squares.size else np.zeros(0, np.int64)
        number = np.arange(len(best))
        found = np.stack([number // max(columns, 1), number % max(columns, 1)]) * side
        found += np.stack(np.divmod(best, side))
        return found[:, squares[number, best] >= LEAST_GRADIENT**2]


def refine(
    a: Points, b: Level, matrix: Matrix, steps: int, support: NDArray[np.bool_] | None = None
) -> Matrix | None:
    """Return the map with which `b` lies on `a`, None where there is none.

    `support` (GRID, GRID) limits the points to places that are known to match.
    """
    at, values, slopes = a.at, a.values, a.slopes
    if support is not None:
        cells = np.minimum(at.astype(np.int64), GRID - 1)
        inside = support[cells[:, 1], cells[:, 0]]
        if inside.sum() >= 2 * MIN_POINTS:
            at, values, slopes = at[inside], values[inside], slopes[inside]
    if len(at) < MIN_POINTS:
        return None
    height, width = b.shape
    to_pixels = np.array([width, height]) / GRID
    middle = np.full(2, GRID / 2)
    forward = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))  # places of `a` to those of `b`
    for step in range(steps):
        pixels = (at @ forward[:2, :2].T + forward[:2, 2]) * to_pixels - 0.5
        inside = np.all((pixels >= 0) & (pixels <= (width - 1, height - 1)), axis=1)
        if inside.sum() < MIN_POINTS:
            return None
        x, y = pixels.astype(np.float32).T[:, :, None]
        seen = np.asarray(cv2.remap(b, x, y, cv2.INTER_LINEAR)[:, 0], np.float64)[inside]
        wanted, slope = values[inside], slopes[inside]
        seen -= seen.mean()
        centred = wanted - wanted.mean()
        product, power = float(centred @ seen), float(seen @ seen) + 1e-6
        own_power = float(centred @ centred) + 1e-6
        correlation = product / np.sqrt(power * own_power)
        if correlation < (TOO_LITTLE if step == steps - 1 else HOPELESS) and step >= EARLY:
            return None
        gain = product / power if product > 0 else np.sqrt(own_power / power)
        error = gain * seen - centred
        spread = 1.4826 * float(np.median(np.abs(error[::4]))) + 0.5  # a quarter tells it as well
        weighted = slope * (1 / (1 + (error / (2 * spread)) ** 2) ** 2)[:, None]
        normal = weighted.T @ slope
        normal[np.diag_indices(8)] += 1e-4 * normal.diagonal() + 1e-6
        change = np.linalg.solve(normal, weighted.T @ error)
        moved = np.eye(3)
        moved[:2, :2] += change[[0, 1, 3, 4]].reshape(2, 2) / (GRID / 2)
        moved[:2, 2] = middle + change[[2, 5]] - moved[:2, :2] @ middle
        if abs(np.linalg.det(moved[:2, :2])) < 0.1:
            return None
        forward = forward @ np.linalg.inv(moved)
        if np.abs(change[:6]).max() < STEP_DONE:
            break
    if not np.isfinite(forward).all() or abs(np.linalg.det(forward[:2, :2])) < 1e-3:
        return None
    return np.asarray(np.linalg.inv(forward)[:2])
