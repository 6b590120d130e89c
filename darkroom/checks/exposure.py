"""How light and dark an image is, how much of it is clipped, and how much its histogram tells."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.images.decode import Pixels

_BRIGHTNESS = np.array([[0.241, 0.691, 0.068]], np.float32)  # of squared red, green and blue
CLIP_MARGIN = 2  # levels: rounding in a JPEG moves a clipped pixel that far
ENTROPY_FACTOR = 0.1  # cleanvision: normalizing_factor of low_information


def light_scores(pixels: Pixels) -> tuple[float, float, float]:
    """Return (dark, light, clipped) of an image: (height, width, 3) RGB.

    - dark: the 99th percentile of brightness; light: 1 minus the 5th. Brightness is
      sqrt(0.241 R² + 0.691 G² + 0.068 B²) / 255, the HSP model, all as in cleanvision; ours is in
      steps of 1/255.
    - clipped: 1 minus the share of pixels within 2 levels of black or white, where a photograph
      has lost what was there.

    >>> light_scores(np.full((4, 4, 3), 51, np.uint8))
    (0.2, 0.8, 1.0)
    """
    squares = cv2.multiply(pixels, pixels, dtype=cv2.CV_32F)  # (height, width, 3)
    brightness = cv2.convertScaleAbs(cv2.sqrt(cv2.transform(squares, _BRIGHTNESS)))
    counts = histogram(np.asarray(brightness, np.uint8))
    low, high = percentiles(counts, (0.05, 0.99))
    ends = counts[: CLIP_MARGIN + 1].sum() + counts[-CLIP_MARGIN - 1 :].sum()
    return high / 255, 1 - low / 255, float(1 - ends / counts.sum())


def histogram(channel: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how many pixels have each level: (256,)."""
    return np.asarray(cv2.calcHist([channel], [0], None, [256], [0, 256]), np.float32).ravel()


def percentiles(counts: NDArray[np.float32], shares: Sequence[float]) -> list[float]:
    """Return the levels below which these shares of all pixels lie, interpolated as NumPy does.

    >>> percentiles(np.array([1, 0, 1, 0], np.float32), (0.25, 1.0))
    [0.5, 2.0]
    """
    ranks = np.cumsum(counts)
    at = np.asarray(shares) * (ranks[-1] - 1)  # position among the sorted pixels, from 0
    below, above = (np.searchsorted(ranks, edge(at), "right") for edge in (np.floor, np.ceil))
    return [float(level) for level in below + (above - below) * (at % 1)]


def information_score(channels: Sequence[NDArray[np.uint8]]) -> float:
    """Return a tenth of the entropy in bits of the colour histogram, at most 1.

    As in cleanvision: one histogram of 3 × 256 bins for red, green and blue, or of 256 bins where
    the file stores grey. Three equal channels hence score 0.158 more than one, log2(3) bits.

    >>> information_score([np.arange(256, dtype=np.uint8)])
    0.8
    """
    counts = np.concatenate([histogram(one) for one in channels])
    shares = counts[counts > 0] / counts.sum()
    bits = float(shares @ np.log2(1 / shares))
    return min(ENTROPY_FACTOR * bits, 1.0)
