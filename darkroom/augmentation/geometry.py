"""Operations that move pixels: (height, width, 3) uint8 RGB to the same.

What is moved in from outside is as `fill` says: `reflect` mirrors, `nearest` repeats the last
pixel, `wrap` continues on the other side, `constant` is black.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.images.decode import Pixels

FILLS = {
    "reflect": cv2.BORDER_REFLECT, "nearest": cv2.BORDER_REPLICATE, "wrap": cv2.BORDER_WRAP,
    "constant": cv2.BORDER_CONSTANT,
}  # fmt: skip


def horizontal_flip(pixels: Pixels) -> Pixels:
    """Mirror left to right."""
    return np.asarray(cv2.flip(np.ascontiguousarray(pixels), 1), np.uint8)


def vertical_flip(pixels: Pixels) -> Pixels:
    """Mirror top to bottom."""
    return np.asarray(cv2.flip(np.ascontiguousarray(pixels), 0), np.uint8)


def crop(pixels: Pixels, top: int, bottom: int, left: int, right: int) -> Pixels:
    """Cut pixels off each side; nothing is resized, since that would blur."""
    height, width = pixels.shape[:2]
    return pixels[top : height - bottom, left : width - right]


def shift(pixels: Pixels, down: int, right: int, fill: str) -> Pixels:
    """Move the picture by whole pixels, so that none changes its value."""
    height, width = pixels.shape[:2]
    y, x = abs(down), abs(right)
    wide = cv2.copyMakeBorder(np.ascontiguousarray(pixels), y, y, x, x, FILLS[fill])
    return np.asarray(wide[y - down : y - down + height, x - right : x - right + width], np.uint8)


def rotation(pixels: Pixels, degrees: float, fill: str) -> Pixels:
    """Turn about the centre, counter-clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _affine(pixels, np.array([[cosine, -sine], [sine, cosine]]), fill)


def shear(pixels: Pixels, factor: float, fill: str) -> Pixels:
    """Slant about the centre: each row moves sideways by its height times `factor`."""
    return _affine(pixels, np.array([[1.0, factor], [0.0, 1.0]]), fill)


def zoom(pixels: Pixels, factor: float, fill: str) -> Pixels:
    """Enlarge about the centre (above 1) or shrink (below 1); the frame stays."""
    return _affine(pixels, np.eye(2) / factor, fill)


def _affine(pixels: Pixels, inverse: NDArray[np.float64], fill: str) -> Pixels:
    """Map each pixel's centre to its origin by the (2, 2) matrix, about the picture's centre."""
    if np.array_equal(inverse, np.eye(2)):
        return pixels
    height, width = pixels.shape[:2]
    middle = (np.array([width, height]) - 1) / 2  # OpenCV's pixel centres lie at whole numbers
    matrix = np.column_stack([inverse, middle - inverse @ middle])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    source = np.ascontiguousarray(pixels)
    turned = cv2.warpAffine(source, matrix, (width, height), flags=how, borderMode=FILLS[fill])
    return np.asarray(turned, np.uint8)
