"""Lay one picture onto another, to a fraction of a pixel, from a rough map between them."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.images.decode import Pixels

Floats = NDArray[np.float32]  # greys (height, width)
Matrix = NDArray[np.floating]  # (2, 3)
Mask = NDArray[np.bool_]

SIDE_PX = 800  # long side for comparing; what is larger is reduced
FINEST_PX, COARSEST_PX = 512, 100  # long sides on which the alignment is refined, and halves
POINTS = 4000  # that an alignment looks at
STEPS = 8  # per level


def align(a: Pixels, b: Pixels, matrix: Matrix) -> tuple[Floats, Floats, Mask]:
    """Return both greys in the frame of `a`, and where `b` covers it."""
    target, scale = _reduced(a)
    picture, reduction = _near_scale(b, matrix, scale)
    matrix = _scaled(scale) @ whole(matrix) @ np.linalg.inv(_scaled(*reduction))
    back = np.linalg.inv(matrix)  # from the frame of `a` to what is left of `b`
    for one, two, scale in reversed(_pyramid(target, picture)):
        to, off = _scaled(scale), np.linalg.inv(_scaled(scale))
        back = off @ whole(_refine(one, two, (to @ back @ off)[:2])) @ to
    inverse = back[:2]
    size = target.shape[::-1]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(picture, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    ones = np.ones(picture.shape, np.uint8)
    covered = cv2.warpAffine(ones, inverse, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return target, np.clip(warped, 0, 255).astype(np.float32), covered.astype(bool)


def _pyramid(target: Floats, picture: Floats) -> list[tuple[Floats, Floats, float]]:
    """Return both at the sizes at which they are aligned, largest first, and how far shrunk."""
    scale = min(1.0, FINEST_PX / max(target.shape))
    levels = [(_shrunk(target, scale), _shrunk(picture, scale), scale)]
    while max(levels[-1][0].shape) >= 2 * COARSEST_PX:
        one, two, scale = levels[-1]
        levels.append((_shrunk(one, 0.5), _shrunk(two, 0.5), scale / 2))
    return levels


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), np.uint8)


def _reduced(pixels: Pixels) -> tuple[Floats, float]:
    grey = _grey(pixels)
    scale = min(1.0, SIDE_PX / max(grey.shape))
    return _shrunk(grey, scale), scale


def _shrunk(grey: NDArray[Any], scale: float) -> Floats:
    if scale == 1:
        return np.asarray(grey, np.float32)
    return np.asarray(
        cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32
    )


def _near_scale(b: Pixels, matrix: Matrix, scale: float) -> tuple[Floats, Any]:
    """Return `b` about as large as it lies on the other one, and by how much it shrank."""
    grey = _grey(b)
    height, width = grey.shape
    stretch = np.minimum(1.0, scale * np.linalg.norm(matrix[:, :2], axis=0))
    size = (max(8, round(width * stretch[0])), max(8, round(height * stretch[1])))
    if size == (width, height):
        return np.asarray(grey, np.float32), (1.0, 1.0)
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
    return small, (size[0] / width, size[1] / height)


def _scaled(x: float, y: float | None = None) -> NDArray[np.floating]:
    """Return the map of pixel centres under a change of size."""
    y = x if y is None else y
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _refine(target: Floats, picture: Floats, inverse: Matrix) -> Matrix:
    """Return the map from `target` to `picture` that explains it best (Lucas and Kanade 1981).

    Differences that the map and a change of gain cannot explain weigh little (Geman and McClure).
    """
    target, picture = blurred(target, 1.0), blurred(picture, 1.0)
    dx, dy = (cv2.Scharr(picture, cv2.CV_32F, *o) / 32 for o in ((1, 0), (0, 1)))
    edges = gradient(target)
    y, x = np.nonzero(edges >= cv2.blur(edges, (33, 33)))
    every = max(1, len(x) // POINTS)
    x, y = x[::every].astype(np.float64), y[::every].astype(np.float64)
    values = target[y.astype(int), x.astype(int)]
    size = max(target.shape)
    best, before = inverse, np.inf
    for _ in range(STEPS):
        at = np.stack([x, y, np.ones_like(x)], 1) @ inverse.T  # (n, 2)
        inside = ((at >= 1) & (at <= np.array(picture.shape[::-1]) - 2)).all(1)
        if inside.sum() < 100:
            return best
        to_x, to_y = at[inside].astype(np.float32).T[:, None]
        seen, ix, iy = (
            cv2.remap(p, to_x, to_y, cv2.INTER_LINEAR)[0].astype(np.float64)
            for p in (picture, dx, dy)
        )
        wanted = values[inside].astype(np.float64)
        gain = max(0.2, min(5.0, wanted.std() / (seen.std() + 1e-6)))
        off = wanted - gain * seen
        off -= np.median(off)
        spread = 1.5 * np.median(np.abs(off)) + 0.5
        error = float(np.minimum(np.abs(off), 3 * spread).mean())
        if error < before:
            best, before = inverse, error
        weight = 1 / (1 + (off / (2 * spread)) ** 2) ** 2
        px, py = x[inside] / size, y[inside] / size
        slope = gain * np.stack([ix * px, ix * py, ix, iy * px, iy * py, iy], 1)
        system = np.concatenate([slope, seen[:, None] - seen.mean(), np.ones((len(px), 1))], 1)
        weighted = system * weight[:, None]
        step = np.linalg.lstsq(weighted.T @ system, weighted.T @ off, rcond=None)[0][:6]
        inverse = inverse + step.reshape(2, 3) / (size, size, 1)
        if np.abs(step).max() < 0.01:
            break
    return inverse if before == np.inf else best


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
