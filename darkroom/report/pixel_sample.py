"""Pixels of a fixed random sample of the images: small squares, channel histograms, brightness.

A key is a digest of the image's bytes, so that the images of lowest key are a random sample, the
same one every time and whatever is added besides. Only what clean kept is decoded.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.images.colours import Pixels
from darkroom.images.resize import resize
from darkroom.report.image_store import ImageStore

MAX_IMAGES = 500  # images for the histograms, and as many again for the eigenimages
SIDE_PX = 64  # of the square that an image is squeezed to
LEVELS = 64  # bins of a channel
WEIGHTS = np.array([0.241, 0.691, 0.068])  # of brightness, as clean measures it (the HSP model)


class PixelSample(NamedTuple):
    """One image of the sample: its pixels as a square, their histograms and mean brightness."""

    square: Pixels  # (64, 64, 3)
    histograms: NDArray[np.float64]  # (3, LEVELS), the share of its pixels at each level
    brightness: float  # 0 to 1


def choose_keys(keys: pd.Series, most: int) -> list[str]:
    """Return the lowest keys, at most `most`."""
    return sorted(keys)[:most]


def sample_images(store: ImageStore, keys: Sequence[str]) -> dict[str, PixelSample]:
    """Return the sample of each image; one that does not decode is left out."""
    decoded = ((key, store.pixels(key)) for key in keys)
    return {key: sample_pixels(pixels) for key, pixels in decoded if pixels is not None}


def sample_pixels(pixels: Pixels) -> PixelSample:
    """Return the sample of one image, (height, width, 3) RGB.

    Histograms and brightness are those of every n-th pixel of every n-th row, about 128 per side.
    """
    height, width = pixels.shape[:2]
    some = pixels[:: max(1, height // 128), :: max(1, width // 128)]
    histograms = np.stack([
        np.bincount(some[:, :, channel].ravel() // (256 // LEVELS), minlength=LEVELS)
        for channel in range(3)
    ])  # fmt: skip
    brightness = float(np.sqrt(some.astype(np.float64) ** 2 @ WEIGHTS).mean() / 255)
    square = resize(pixels, SIDE_PX, SIDE_PX)
    return PixelSample(square, histograms / (some.shape[0] * some.shape[1]), round(brightness, 6))


def mean_histograms(samples: Sequence[PixelSample]) -> NDArray[np.float64]:
    """Return the share of pixels per channel and level, (3, LEVELS); each image counts the same."""
    if not samples:
        return np.zeros((3, LEVELS))
    mean = np.mean([sample.histograms for sample in samples], axis=0)
    return np.asarray(mean.round(9), np.float64)
