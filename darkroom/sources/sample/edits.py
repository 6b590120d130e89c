"""What people do to an image before it comes back as a near-duplicate: the planted copies.

Each function takes RGB pixels and a generator and returns the changed pixels. Amounts are drawn
from the ranges given beside them.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

from darkroom.sources.sample.photographs import Pixels

Edit = Literal[
    "crop", "flip_horizontal", "flip_vertical", "rotation", "right_angle", "resize",
    "recompression", "colour_shift", "overlay",
]  # fmt: skip
EDITS: tuple[Edit, ...] = get_args(Edit)

CROP_SIDE = (0.8, 0.92)  # share of each side that is left
ROTATION_DEGREES = (4.0, 12.0)  # to either side; the corners show the border's colours, stretched
RESIZE_SCALE = (0.6, 1.6)  # 0.9 to 1.15 is left out: hardly a change
RECOMPRESSION_QUALITY = (30, 60)  # of the JPEG that the copy is stored as
COLOUR_GAIN = (0.82, 1.2)  # per channel, one drawn for each
COLOUR_OFFSET = (-18.0, 18.0)  # of 255, all channels together
OVERLAY_SIDE = (0.2, 0.3)  # width and height of the sticker, as shares of the image's: 4 to 9 %


def edit(pixels: Pixels, kind: Edit, rng: np.random.Generator) -> tuple[Pixels, int | None]:
    """Return the edited pixels, and the JPEG quality to store them with if that is the edit."""
    if kind == "recompression":
        low, high = RECOMPRESSION_QUALITY
        return pixels, int(rng.integers(low, high + 1))
    return np.ascontiguousarray(_FUNCTIONS[kind](pixels, rng)), None


def _crop(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    new_height, new_width = (round(side * rng.uniform(*CROP_SIDE)) for side in (height, width))
    top = int(rng.integers(0, height - new_height + 1))
    left = int(rng.integers(0, width - new_width + 1))
    return pixels[top : top + new_height, left : left + new_width]


def _rotate(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    degrees = rng.uniform(*ROTATION_DEGREES) * rng.choice([-1, 1])
    margin = max(pixels.shape[:2]) // 4
    wide = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    turned = np.asarray(Image.fromarray(wide).rotate(degrees, Image.Resampling.BICUBIC))
    return turned[margin:-margin, margin:-margin]


def _resize(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    low, high = RESIZE_SCALE
    scale = rng.uniform(low, 0.9) if rng.random() < 0.5 else rng.uniform(1.15, high)
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _shift_colour(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    shifted = pixels * rng.uniform(*COLOUR_GAIN, size=3) + rng.uniform(*COLOUR_OFFSET)
    return np.clip(np.round(shifted), 0, 255).astype(np.uint8)


def _overlay(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    across, down = (int(side * rng.uniform(*OVERLAY_SIDE)) for side in (width, height))
    left = int(rng.integers(0, width - across + 1))
    top = int(rng.integers(0, height - down + 1))
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    draw.rectangle((left, top, left + across - 1, top + down - 1), fill=(red, green, blue))
    draw.line((left, top, left + across - 1, top + down - 1), fill="white", width=2)
    return np.asarray(image)


_FUNCTIONS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "crop": _crop,
    "flip_horizontal": lambda pixels, rng: pixels[:, ::-1],
    "flip_vertical": lambda pixels, rng: pixels[::-1],
    "rotation": _rotate,
    "right_angle": lambda pixels, rng: np.rot90(pixels, int(rng.integers(1, 4))),
    "resize": _resize,
    "colour_shift": _shift_colour,
    "overlay": _overlay,
}
