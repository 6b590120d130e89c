"""Lay one picture onto another, to a fraction of a pixel, from a rough map between them.

Tile by tile, the shift is sought that lays the one on the other (Lucas and Kanade 1981), on greys
whose local contrast is evened out, so that neither tones nor shading matter; then the affine map on
which most tiles agree. What covers a third of a picture (a caption) does not pull at it. And what
neighbouring tiles say in common against the map tells another shot from a copy: the camera has
moved between two shots, and no affine map takes that back.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.images.decode import Pixels

Floats = NDArray[np.float32]  # greys (height, width)
Matrix = NDArray[np.floating]  # (2, 3)
Mask = NDArray[np.bool_]

SIDE_PX = 800  # long side for comparing; what is larger is reduced
SIDES_PX = ((96, 2), (256, 1))  # long sides on which the alignment is refined, and steps
TILE_PX, WINDOW_PX = 8, 17  # of those sizes: what is shifted as one; where contrast is evened out
FLAT = 2.0  # grey levels, below which there is little to even out
MIN_SLOPE = 1e-3  # mean squared gradient of evened grey: a tile of less says nothing
MIN_TILES = 6
FLAT_POWER = 0.1  # mean squared evened grey of both, below which there is nothing to see
AGREES, FLAT_WEIGHT = 0.5, 0.2  # share of a tile's power that agrees; what flat ones count
ROUNDS = 3  # of the robust fit
FIRST, SECOND = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]  # of three, each product of two …
SQUARE = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])  # … and where it stands
LEAST_OFF = 0.15  # px: tiles that are no further off count alike
NEAR_TILES = 5  # a side, that say in common where they lie
# They lie elsewhere if by so many pixels, and if that explains such a share of what is left.
OFF_PX, OFF_SHARE = 0.09, 0.03
MAX_MOVED = 0.45  # share of the detail, beyond which it is another shot


class Aligned(NamedTuple):
    """Two greys in one frame."""

    target: Floats
    picture: Floats
    covered: Mask  # where the picture lies on the target
    weight: Floats  # per tile, how far it tells of tones, sharpness and noise; 0 where it disagrees


def align(a: Pixels, b: Pixels, matrix: Matrix) -> Aligned | None:
    """Return both greys in the frame of `a`, None where no map lays one on the other.

    `matrix` maps pixels of `b` to those of `a`.
    """
    target, scale = _reduced(a)
    picture, reduction = _near_scale(b, matrix, scale)
    matrix = (_scaled(*scale) @ whole(matrix) @ np.linalg.inv(_scaled(*reduction)))[:2]
    for side, steps in SIDES_PX:
        scale = min(1.0, side / max(target.shape))
        one, two = (blurred(_shrunk(each, scale), 1.0) for each in (target, picture))
        to_one, to_two = (
            _scaled(small.shape[1] / large.shape[1], small.shape[0] / large.shape[0])
            for small, large in ((one, target), (two, picture))
        )
        frame, small = _Frame(one), to_one @ whole(matrix) @ np.linalg.inv(to_two)
        for _ in range(steps):
            seen = frame.look(two, small[:2])
            small = seen.change_of_map() @ small
        matrix = (np.linalg.inv(to_one) @ small @ to_two)[:2]
    if seen.moved() > MAX_MOVED:
        return None
    size = target.shape[::-1]
    warped = cv2.warpAffine(
        picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    covered = cv2.warpAffine(
        np.ones(picture.shape, np.uint8), matrix, size, flags=cv2.INTER_NEAREST
    )
    picture = np.clip(warped, 0, 255).astype(np.float32)
    return Aligned(target, picture, covered > 0, seen.weight())


class _Frame:
    """A picture to which others are aligned, and what it is in tiles."""

    def __init__(self, grey: Floats) -> None:
        self.shape = grey.shape
        self.even = evened(grey)
        self.slopes = [
            np.asarray(cv2.Sobel(self.even, cv2.CV_32F, *order, scale=1 / 8), np.float32)
            for order in ((1, 0), (0, 1))
        ]
        right, down = self.slopes
        self.bends = np.stack([tiled(right * right), tiled(right * down), tiled(down * down)])
        self.power = tiled(self.even * self.even)
        self.total = self.bends[0] + self.bends[2]
        rows, columns = self.total.shape
        x = ((np.arange(columns) + 0.5) * TILE_PX / grey.shape[1] - 0.5)[None].repeat(rows, 0)
        y = ((np.arange(rows) + 0.5) * TILE_PX / grey.shape[0] - 0.5)[:, None].repeat(columns, 1)
        self.middles = np.stack([x, y, np.ones_like(x)])  # of tiles, in sides from the middle

    def look(self, other: Floats, matrix: Matrix) -> "_Seen":
        """Return how `other` lies on it under this map, and how it would lie on it best."""
        size = self.shape[::-1]
        warped = cv2.warpAffine(other, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpAffine(
            np.ones(other.shape, np.uint8), matrix, size, flags=cv2.INTER_NEAREST
        )
        inner = cv2.erode(inside, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_CONSTANT)
        even = evened(np.asarray(warped, np.float32))
        error = even - self.even
        pulls = np.stack([tiled(slope * error) for slope in self.slopes])
        power, left = self.power + tiled(even * even), tiled(error * error)
        covered = tiled(inner.astype(np.float32)) > 0.999
        telling = covered & (self.total > MIN_SLOPE)
        return _fitted(self, telling, pulls, left, power)


class _Seen(NamedTuple):
    """How a picture lies on a frame once it has been shifted, in tiles (rows, columns)."""

    frame: _Frame
    change: NDArray[np.float64]  # (2, 3), shift in pixels by the place, from the middle in sides
    telling: Mask  # where there is something to see
    pulls: Floats  # (2, …) mean of what is left times gradient
    left: Floats  # mean squared
    power: Floats  # of both, mean squared

    def weight(self) -> Floats:
        """Return how far each tile tells of tones, sharpness and noise."""
        agrees = self.left <= (1 - AGREES) * np.maximum(self.power, FLAT_POWER)
        return np.where(agrees, np.where(self.telling, 1.0, FLAT_WEIGHT), 0).astype(np.float32)

    def change_of_map(self) -> NDArray[np.float64]:
        """Return the shift as a change of the map of pixels, (3, 3)."""
        size = np.array(self.frame.shape[::-1])
        moved = np.eye(3)
        moved[:2, :2] += self.change[:, :2] / size
        moved[:2, 2] = (size - 1) / 2 + self.change[:, 2] - moved[:2, :2] @ ((size - 1) / 2)
        if np.linalg.det(moved) < 0.5:
            return np.eye(3)
        return np.asarray(np.linalg.inv(moved), np.float64)

    def moved(self) -> float:
        """Return the share of the detail of which neighbouring tiles say that it lies elsewhere."""
        if self.telling.sum() < MIN_TILES:
            return 0.0
        xx, xy, yy, right, down, left = (
            cv2.boxFilter(part * self.telling, -1, (NEAR_TILES, NEAR_TILES), normalize=False,
                          borderType=cv2.BORDER_CONSTANT)
            for part in (*self.frame.bends, *self.pulls, self.left)
        )  # fmt: skip
        bends = np.stack([xx, xy, yy])[:, self.telling]
        explained = _squared(bends, _shift(bends, np.stack([right, down])[:, self.telling]))
        weight = self.frame.total[self.telling]
        weight = np.minimum(weight, np.median(weight))
        off = explained > OFF_PX**2 * (bends[0] + bends[2])
        off &= explained > OFF_SHARE * left[self.telling]
        return float((weight * off).sum() / weight.sum())


def _fitted(frame: _Frame, telling: Mask, pulls: Floats, left: Floats, power: Floats) -> _Seen:
    """Return what is seen once the picture is shifted by the map on which most tiles agree."""
    if telling.sum() < MIN_TILES:
        return _Seen(frame, np.zeros((2, 3)), telling, pulls, left, power)
    at = frame.middles[:, telling]
    products = at[FIRST] * at[SECOND]  # (6, n)
    bends, pull = (part[:, telling].astype(np.float64) for part in (frame.bends, pulls))
    shift, total = _shift(bends, pull), bends[0] + bends[2]
    trust = np.clip(1 - left / np.maximum(power, FLAT_POWER), 0.02, 1)[telling]
    weight, normal = trust, np.empty((2, 3, 2, 3))
    for _ in range(ROUNDS):
        sums = ((bends * weight) @ products.T)[:, SQUARE]  # (3, 3, 3)
        normal[0, :, 0], normal[0, :, 1], normal[1, :, 0], normal[1, :, 1] = sums[[0, 1, 1, 2]]
        wanted = ((pull * weight) @ at.T).ravel()
        change = -np.linalg.solve(normal.reshape(6, 6) + 1e-6 * np.eye(6), wanted).reshape(2, 3)
        off = _squared(bends, change @ at - shift) / total
        weight = trust / (1 + off / (4 * max(LEAST_OFF**2, float(np.median(off))))) ** 2
    by = np.tensordot(change, frame.middles, 1)
    xx, xy, yy = frame.bends
    left = left + 2 * (by * pulls).sum(axis=0) + _squared(frame.bends, by)
    pulls = pulls + np.stack([xx * by[0] + xy * by[1], xy * by[0] + yy * by[1]])
    return _Seen(
        frame, change, telling, pulls.astype(np.float32),
        np.maximum(left, 0).astype(np.float32), power,
    )  # fmt: skip


def _shift(bends: NDArray[Any], pulls: NDArray[Any]) -> NDArray[Any]:
    """Return by how many pixels each tile is off, (2, …)."""
    xx, xy, yy = bends
    area = xx * yy - xy * xy + (0.02 * (xx + yy)) ** 2 + 1e-9
    shift = np.stack([xy * pulls[1] - yy * pulls[0], xy * pulls[0] - xx * pulls[1]]) / area
    return np.asarray(shift)


def _squared(bends: NDArray[Any], shift: NDArray[Any]) -> NDArray[Any]:
    """Return what a shift changes, squared."""
    x, y = shift
    return np.asarray(bends[0] * x * x + 2 * bends[1] * x * y + bends[2] * y * y)


def evened(grey: Floats) -> Floats:
    """Return greys of about the same contrast everywhere, and zero mean."""
    size = (WINDOW_PX, WINDOW_PX)
    middle = np.asarray(cv2.blur(grey, size), np.float32)
    spread = np.asarray(cv2.sqrBoxFilter(grey, -1, size), np.float32)
    spread -= middle * middle  # in place: fresh memory costs more than the sums
    np.sqrt(np.maximum(spread, 0, out=spread), out=spread)
    spread += FLAT
    np.subtract(grey, middle, out=middle)
    middle /= spread
    return middle


def tiled(values: Floats) -> Floats:
    """Return means over tiles."""
    rows, columns = (max(1, length // TILE_PX) for length in values.shape)
    inner = values[: rows * TILE_PX, : columns * TILE_PX]
    return np.asarray(cv2.resize(inner, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def grey_of(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the grey of pixels in colour or grey."""
    if pixels.ndim == 2:
        return pixels
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), np.uint8)


def _reduced(pixels: Pixels) -> tuple[Floats, tuple[float, float]]:
    grey = grey_of(pixels)
    small = _shrunk(grey, min(1.0, SIDE_PX / max(grey.shape)))
    return small, (small.shape[1] / grey.shape[1], small.shape[0] / grey.shape[0])


def _shrunk(grey: NDArray[Any], scale: float) -> Floats:
    if scale == 1:
        return np.asarray(grey, np.float32)
    size = [max(8, round(length * scale)) for length in grey.shape[::-1]]
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


def _near_scale(b: Pixels, matrix: Matrix, scale: tuple[float, float]) -> tuple[Floats, Any]:
    """Return `b` about as large as it lies on the other one, and by how much it shrank."""
    grey = grey_of(b)
    height, width = grey.shape
    stretch = np.minimum(1.0, np.linalg.norm(matrix[:, :2] * np.array(scale)[:, None], axis=0))
    size = (max(8, round(width * stretch[0])), max(8, round(height * stretch[1])))
    if size == (width, height):
        return np.asarray(grey, np.float32), (1.0, 1.0)
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
    return small, (size[0] / width, size[1] / height)


def _scaled(x: float, y: float) -> NDArray[np.floating]:
    """Return the map of pixel centres under a change of size."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def whole(matrix: Matrix) -> NDArray[np.floating]:
    """Return an affine map as a matrix (3, 3)."""
    return np.vstack([matrix, [0, 0, 1]])


def blurred(grey: Floats, sigma: float) -> Floats:
    """Return a picture blurred by a Gaussian of `sigma` pixels, as it is where that is 0."""
    return grey if not sigma else np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.float32)


def gradient(grey: Floats) -> Floats:
    """Return grey levels per pixel."""
    x, y = (cv2.Scharr(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(x, y) / 32, np.float32)
