"""The known faults of the embedded sample's patches: six kinds at four levels.

All numbers are listed in LEVELS. Every kind also shows on grey photographs.
"""

import io
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from darkroom.sources.sample.photographs import Pixels

Kind = Literal["blur", "noise", "jpeg", "haze", "pixelation", "posterisation"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LEVELS: dict[Kind, tuple[float, float, float, float]] = {
    "blur": (0.7, 1.1, 1.7, 2.6),  # standard deviation of the Gaussian, px
    "noise": (8, 16, 28, 45),  # standard deviation of Gaussian noise per pixel and channel, of 255
    "jpeg": (35, 20, 11, 5),  # JPEG quality
    "haze": (0.75, 0.55, 0.4, 0.28),  # contrast that is left under an even light grey veil
    "pixelation": (0.72, 0.5, 0.36, 0.25),  # scale of the smaller image that is blown up again
    "posterisation": (14, 8, 5, 3),  # brightness steps left between darkest and brightest
}
VEIL = 205.0  # grey value of the haze


def degrade(pixels: Pixels, kind: Kind, level: int, rng: np.random.Generator) -> Pixels:
    """Return `pixels` with the fault `kind` at `level` 1 (slight) to 4 (heavy)."""
    return _FUNCTIONS[kind](pixels, LEVELS[kind][level - 1], rng)


def _blur(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def _noise(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    return _to_bytes(pixels + rng.normal(0, sigma, pixels.shape))


def _jpeg(pixels: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=int(quality))
    return np.asarray(Image.open(stream).convert("RGB"))


def _haze(pixels: Pixels, contrast: float, rng: np.random.Generator) -> Pixels:
    return _to_bytes(VEIL + contrast * (pixels.astype(np.float64) - VEIL))


def _pixelate(pixels: Pixels, scale: float, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    size = (round(width * scale), round(height * scale))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def _posterise(pixels: Pixels, steps: float, rng: np.random.Generator) -> Pixels:
    low = float(pixels.min())
    step = max(float(pixels.max()) - low, 1.0) / (steps - 1)
    return _to_bytes(low + np.round((pixels - low) / step) * step)


def _to_bytes(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


_FUNCTIONS: dict[Kind, Callable[[Pixels, float, np.random.Generator], Pixels]] = {
    "blur": _blur, "noise": _noise, "jpeg": _jpeg, "haze": _haze, "pixelation": _pixelate,
    "posterisation": _posterise,
}  # fmt: skip
