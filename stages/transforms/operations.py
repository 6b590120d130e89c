"""Operations on pixels: each a pure function of RGB pixels and drawn values.

Pixels are (height, width, 3) uint8 RGB and stay so; only `crop` changes the size. What an operation
moves in from outside is mirrored. The ranges are chosen by us: small enough that a person would
still give the same class. Drawn values are rounded, so that their JSON makes the same image again.
"""

import io
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from stages.lib.pixels import Pixels

Values = dict[str, Any]  # what was drawn, by name: numbers that JSON keeps exactly
Draw = Callable[[np.random.Generator, int, int], Values]  # from generator, height, width

ROTATION_DEGREES = 20.0  # to either side
SHEAR = 0.15  # horizontal pixels per vertical pixel, to either side
SHIFT_SIDE = 0.1  # of the side, in each direction
CROP_SIDE = 0.05  # of the side, from both of its ends together
GAIN = (0.8, 1.25)  # of brightness and of contrast
BLUR_SIGMA_PX = (0.3, 1.5)
NOISE_SIGMA = (2.0, 12.0)  # of 255
JPEG_QUALITY = (50, 90)


class Operation(NamedTuple):
    """How to draw values, and what to do with them."""

    draw: Draw
    apply: Callable[..., Pixels]


def horizontal_flip(pixels: Pixels) -> Pixels:
    """Mirror left to right."""
    return pixels[:, ::-1]


def vertical_flip(pixels: Pixels) -> Pixels:
    """Mirror top to bottom."""
    return pixels[::-1]


def crop(pixels: Pixels, top: int, bottom: int, left: int, right: int) -> Pixels:
    """Cut pixels off each side; nothing is resized, since that would blur."""
    height, width = pixels.shape[:2]
    return pixels[top : height - bottom, left : width - right]


def shift(pixels: Pixels, down: int, right: int) -> Pixels:
    """Move the picture by whole pixels, so that none changes its value."""
    height, width = pixels.shape[:2]
    wide = _mirrored(pixels, abs(down), abs(right))
    top, left = abs(down) - down, abs(right) - right
    return wide[top : top + height, left : left + width]


def rotation(pixels: Pixels, degrees: float) -> Pixels:
    """Turn about the centre, counter-clockwise."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _affine(pixels, np.array([[cosine, -sine], [sine, cosine]]))


def shear(pixels: Pixels, factor: float) -> Pixels:
    """Slant about the centre: each row moves sideways by its height times `factor`."""
    return _affine(pixels, np.array([[1.0, factor], [0.0, 1.0]]))


def brightness(pixels: Pixels, gain: float) -> Pixels:
    """Multiply all values."""
    return _table(pixels, np.arange(256.0) * gain)


def contrast(pixels: Pixels, gain: float) -> Pixels:
    """Multiply the distance of all values from the mean of the image."""
    mean = float(pixels.mean())
    return _table(pixels, mean + (np.arange(256.0) - mean) * gain)


def blur(pixels: Pixels, sigma_px: float) -> Pixels:
    """Blur by a Gaussian."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma_px)))


def noise(pixels: Pixels, sigma: float, seed: int) -> Pixels:
    """Add Gaussian noise, independent in each pixel and channel."""
    field = np.random.default_rng(seed).standard_normal(pixels.shape, np.float32)
    field *= sigma
    field += pixels
    return np.clip(np.rint(field), 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Compress as JPEG and decode again."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def _mirrored(pixels: Pixels, rows: int, columns: int) -> Pixels:
    return np.pad(pixels, ((rows, rows), (columns, columns), (0, 0)), mode="symmetric")


def _affine(pixels: Pixels, inverse: NDArray[np.float64]) -> Pixels:
    """Map each place of the result to its origin by the (2, 2) matrix, about the centre."""
    if np.array_equal(inverse, np.eye(2)):
        return pixels
    height, width = pixels.shape[:2]
    half = np.array([width, height]) / 2
    reach = np.abs(inverse - np.eye(2)) @ half  # (2,) how far outside the origins lie: x, y
    columns, rows = (math.ceil(distance) + 2 for distance in reach)
    x, y = half + np.array([columns, rows]) - inverse @ half  # origin of the upper left corner
    (a, b), (d, e) = inverse
    turned = Image.fromarray(_mirrored(pixels, rows, columns)).transform(
        (width, height), Image.Transform.AFFINE, (a, b, x, d, e, y), Image.Resampling.BICUBIC
    )
    return np.asarray(turned)


def _table(pixels: Pixels, values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)[pixels]


def _nothing(rng: np.random.Generator, height: int, width: int) -> Values:
    return {}


def _uniform(name: str, low: float, high: float) -> Draw:
    return lambda rng, height, width: {name: round(float(rng.uniform(low, high)), 3)}


def _draw_crop(rng: np.random.Generator, height: int, width: int) -> Values:
    values = {}
    for first, second, side in (("top", "bottom", height), ("left", "right", width)):
        cut = int(rng.integers(0, int(side * CROP_SIDE) + 1))
        values[first] = int(rng.integers(0, cut + 1))
        values[second] = cut - values[first]
    return values


def _draw_shift(rng: np.random.Generator, height: int, width: int) -> Values:
    down, right = int(height * SHIFT_SIDE), int(width * SHIFT_SIDE)
    return {
        "down": int(rng.integers(-down, down + 1)),
        "right": int(rng.integers(-right, right + 1)),
    }


def _draw_noise(rng: np.random.Generator, height: int, width: int) -> Values:
    return {
        "sigma": round(float(rng.uniform(*NOISE_SIGMA)), 3), "seed": int(rng.integers(2**31))
    }  # fmt: skip


def _draw_quality(rng: np.random.Generator, height: int, width: int) -> Values:
    return {"quality": int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1))}


# In the order in which a chain applies them: as in a camera, the scene first, then light, lens,
# sensor and file. A fixed order also means that different values give different images.
OPERATIONS: Mapping[str, Operation] = {
    "horizontal_flip": Operation(_nothing, horizontal_flip),
    "vertical_flip": Operation(_nothing, vertical_flip),
    "rotation": Operation(_uniform("degrees", -ROTATION_DEGREES, ROTATION_DEGREES), rotation),
    "shear": Operation(_uniform("factor", -SHEAR, SHEAR), shear),
    "shift": Operation(_draw_shift, shift),
    "crop": Operation(_draw_crop, crop),
    "brightness": Operation(_uniform("gain", *GAIN), brightness),
    "contrast": Operation(_uniform("gain", *GAIN), contrast),
    "blur": Operation(_uniform("sigma_px", *BLUR_SIGMA_PX), blur),
    "noise": Operation(_draw_noise, noise),
    "jpeg": Operation(_draw_quality, jpeg),
}
