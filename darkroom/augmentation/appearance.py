"""Operations that change values and move nothing: (height, width, 3) uint8 RGB to the same."""

from functools import cache
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from darkroom.images.decode import Pixels

_LEVELS = 2**16  # of the normal distribution; the outermost lie at 4.3 sigma


def brightness(pixels: Pixels, gain: float) -> Pixels:
    """Multiply all values."""
    return _table(pixels, np.arange(256.0) * gain)


def contrast(pixels: Pixels, gain: float) -> Pixels:
    """Multiply the distance of all values from the mean of the image."""
    mean = float(pixels.mean())
    return _table(pixels, mean + (np.arange(256.0) - mean) * gain)


def colour(pixels: Pixels, gain: float) -> Pixels:
    """Multiply the distance of all values from the grey of their pixel (ITU-R 601)."""
    source = np.ascontiguousarray(pixels)
    grey = cv2.cvtColor(cv2.cvtColor(source, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(source, gain, grey, 1 - gain, 0), np.uint8)


def blur(pixels: Pixels, sigma_px: float) -> Pixels:
    """Blur by a Gaussian, cut at about three sigma; edges are mirrored."""
    if sigma_px == 0:
        return pixels
    size = 2 * round(3 * sigma_px) + 1
    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(pixels), (size, size), sigma_px))


def gaussian_noise(pixels: Pixels, sigma: float, seed: int) -> Pixels:
    """Add Gaussian noise of `sigma` (of 255), independent in each pixel and channel."""
    table = np.rint(_normal() * np.float32(sigma)).astype(np.int16)
    return _added(pixels, _drawn(table, pixels.shape, seed))


def speckle(pixels: Pixels, sigma: float, seed: int) -> Pixels:
    """Multiply by 1 + Gaussian noise of `sigma`, as in radar and ultrasound."""
    noise = _drawn(_normal() * np.float32(sigma), pixels.shape, seed)
    noise *= pixels
    return _added(pixels, np.rint(noise, out=noise).astype(np.int16))


def poisson(pixels: Pixels, photons: float, seed: int) -> Pixels:
    """Count photons: white is `photons` of them, and fewer give more noise."""
    counts = np.random.default_rng(seed).poisson(pixels * np.float32(photons / 255))
    return np.asarray(np.clip(np.rint(counts * (255 / photons)), 0, 255), np.uint8)


def salt_and_pepper(pixels: Pixels, share: float, seed: int) -> Pixels:
    """Turn this share of the pixels black or white, half of them each."""
    draws = np.random.default_rng(seed).random(pixels.shape[:2], np.float32)
    changed = pixels.copy()
    changed[draws < share / 2] = 0
    changed[draws > 1 - share / 2] = 255
    return changed


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Compress as JPEG, colour at half the resolution, and decode again."""
    content = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality, colorspace="RGB", colorsubsampling="420"
    )
    return np.asarray(simplejpeg.decode_jpeg(content, colorspace="RGB"), np.uint8)


def _table(pixels: Pixels, values: NDArray[np.float64]) -> Pixels:
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(pixels), table), np.uint8)


def _drawn(table: NDArray[Any], shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """Draw from a table of quantiles: four times as fast as drawing from the distribution."""
    levels = np.random.default_rng(seed).integers(0, _LEVELS, shape, np.uint16)
    return np.take(table, levels, mode="wrap")  # no level lies outside, and this skips the look


def _added(pixels: Pixels, noise: NDArray[np.int16]) -> Pixels:
    """Return the sum, cut to 0 … 255."""
    return np.asarray(cv2.add(np.ascontiguousarray(pixels), noise, dtype=cv2.CV_8U), np.uint8)


@cache
def _normal() -> NDArray[np.float32]:
    """Return the levels; scipy's quicker function takes longer to import than this once."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse((level + 0.5) / _LEVELS) for level in range(_LEVELS)], np.float32)
