"""Operations that move pixels: each maps (height, width) or (height, width, 3) uint8 to the same.

A mask goes through the same operations with `mask=True`: then no pixel gets a value that none had,
so that a binary mask stays binary and aligned with its image. What is moved in from outside is as
`fill` says: `reflect` mirrors, `nearest` repeats the last pixel, `wrap` continues on the other
side, `constant` is black.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (height, width) or (height, width, 3)

FILLS = {
    "reflect": cv2.BORDER_REFLECT, "nearest": cv2.BORDER_REPLICATE, "wrap": cv2.BORDER_WRAP,
    "constant": cv2.BORDER_CONSTANT,
}  # fmt: skip


def horizontal_flip(pixels: Image, mask: bool = False) -> Image:
    """Mirror left to right."""
    return np.asarray(cv2.flip(np.ascontiguousarray(pixels), 1), np.uint8)


def vertical_flip(pixels: Image, mask: bool = False) -> Image:
    """Mirror top to bottom."""
    return np.asarray(cv2.flip(np.ascontiguousarray(pixels), 0), np.uint8)


def crop(pixels: Image, top: int, bottom: int, left: int, right: int, mask: bool = False) -> Image:
    """Cut pixels off each side; nothing is resized, since that would blur."""
    height, width = pixels.shape[:2]
    return pixels[top : height - bottom, left : width - right]


def shift(pixels: Image, down: int, right: int, fill: str, mask: bool = False) -> Image:
    """Move the picture by whole pixels, so that none changes its value."""
    height, width = pixels.shape[:2]
    y, x = abs(down), abs(right)
    wide = cv2.copyMakeBorder(np.ascontiguousarray(pixels), y, y, x, x, FILLS[fill])
    return np.asarray(wide[y - down : y - down + height, x - right : x - right + width], np.uint8)


def rotation(pixels: Image, degrees: float, fill: str, mask: bool = False) -> Image:
    """Turn about the centre, counter-clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _affine(pixels, np.array([[cosine, -sine], [sine, cosine]]), fill, mask)


def shear(pixels: Image, factor: float, fill: str, mask: bool = False) -> Image:
    """Slant about the centre: each row moves sideways by its height times `factor`."""
    return _affine(pixels, np.array([[1.0, factor], [0.0, 1.0]]), fill, mask)


def zoom(pixels: Image, factor: float, fill: str, mask: bool = False) -> Image:
    """Enlarge about the centre (above 1) or shrink (below 1); the frame stays."""
    return _affine(pixels, np.eye(2) / factor, fill, mask)


def _affine(pixels: Image, inverse: NDArray[np.float64], fill: str, mask: bool) -> Image:
    """Map each pixel's centre to its origin by the (2, 2) matrix, about the picture's centre."""
    if np.array_equal(inverse, np.eye(2)):
        return pixels
    height, width = pixels.shape[:2]
    middle = (np.array([width, height]) - 1) / 2  # OpenCV's pixel centres lie at whole numbers
    matrix = np.column_stack([inverse, middle - inverse @ middle])
    how = (cv2.INTER_NEAREST if mask else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    source = np.ascontiguousarray(pixels)
    turned = cv2.warpAffine(source, matrix, (width, height), flags=how, borderMode=FILLS[fill])
    return np.asarray(turned, np.uint8)
