"""Lay one picture onto another, to a fraction of a pixel, from a rough map between them."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.alignment import Level, refine
from darkroom.dedupe.matching import in_pixels, in_places
from darkroom.images.decode import Pixels

Floats = NDArray[np.float32]  # greys (height, width)
Matrix = NDArray[np.floating]  # (2, 3)
Mask = NDArray[np.bool_]

SIDE_PX = 800  # long side for comparing; what is larger is reduced
SIDES_PX = (192, 512)  # long sides on which the alignment is refined
POINTS_A_SIDE = 48  # that an alignment looks at
STEPS = 8  # per level


def align(a: Pixels, b: Pixels, matrix: Matrix) -> tuple[Floats, Floats, Mask]:
    """Return both greys in the frame of `a`, and where `b` covers it."""
    target, scale = _reduced(a)
    picture, reduction = _near_scale(b, matrix, scale)
    matrix = (_scaled(scale) @ whole(matrix) @ np.linalg.inv(_scaled(*reduction)))[:2]
    places = in_places(matrix, target.shape, picture.shape)
    for side in SIDES_PX:
        side = min(side, max(target.shape))
        one, two = (
            Level(each, side, min(POINTS_A_SIDE, side // 2), 1.0) for each in (target, picture)
        )
        finer, correlation = refine([one], [two], places[None], STEPS)
        places = finer[0] if correlation[0] > 0 else places
    inverse = np.linalg.inv(whole(in_pixels(places, target.shape, picture.shape)))[:2]
    size = target.shape[::-1]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(picture, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    ones = np.ones(picture.shape, np.uint8)
    covered = cv2.warpAffine(ones, inverse, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return target, np.clip(warped, 0, 255).astype(np.float32), covered.astype(bool)


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
