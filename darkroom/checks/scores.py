"""The scores of one image: what its pixels, JPEG tables and header tell, in [0, 1], 1 = fine.

One module per family: `exposure`, `colours`, `sharpness`, `borders`, `jpeg_quality`. What the whole
data set tells is in `outliers`; that and `header_scores` are computed for the summary.

blurry, dark, light, low_information, greyscale, odd_aspect_ratio and odd_size follow cleanvision
0.3.7 (Cleanlab, https://github.com/cleanlab/cleanvision). It measures on the stored image in full;
we measure on upright RGB, on a JPEG decoded at as little as the short side of a preview, and
exposure and colours on a grid of its pixels. `python -m benchmarks.clean` says what that changes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from darkroom.checks.borders import border_score
from darkroom.checks.colours import cast_score, colour_score
from darkroom.checks.exposure import information_score, light_scores
from darkroom.checks.jpeg_quality import jpeg_quality_score
from darkroom.checks.sharpness import blurry_score
from darkroom.images.decode import Pixels

GRID_PX = 48  # exposure and colours are read off a grid of at least this many pixels squared
FEWEST_LINES = 8  # rows and columns that the grid has of a strip
DIGITS = 6  # kept of each score, so that tables do not depend on the last bits
# How Pillow calls pixels that are stored without colour; cleanvision knows L alone.
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


class Scores(NamedTuple):
    """The scores of one image; each name is a column."""

    blurry_score: float
    dark_score: float
    light_score: float
    low_information_score: float
    clipped_score: float
    colourless_score: float
    colour_cast_score: float
    uniform_border_score: float
    low_jpeg_quality_score: float


def score(
    pixels: Pixels, tables: Mapping[int, Sequence[int]] | None = None, stored_grey: bool = False
) -> Scores:
    """Return every score of an image: (height, width, 3) RGB, and its JPEG tables if it has any."""
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)  # (height, width)
    sample = grid(pixels)
    channels = [np.asarray(channel, np.uint8) for channel in cv2.split(sample)]
    dark, light, clipped = light_scores(sample)
    values = Scores(
        blurry_score=blurry_score(grey),
        dark_score=dark,
        light_score=light,
        low_information_score=information_score(channels[: 1 if stored_grey else 3]),
        clipped_score=clipped,
        colourless_score=colour_score(channels),
        colour_cast_score=cast_score(sample),
        uniform_border_score=border_score(grey),
        low_jpeg_quality_score=jpeg_quality_score(tables),
    )
    return Scores(*(round(value, DIGITS) for value in values))


def grid(pixels: Pixels) -> Pixels:
    """Return every k-th pixel of every k-th row, k odd, so that the dots of a dither do not hide.

    Whole pixels keep the extremes that averages would lose.

    >>> grid(np.zeros((192, 256, 3), np.uint8)).shape
    (64, 85, 3)
    """
    height, width = pixels.shape[:2]
    step = min(int((height * width) ** 0.5) // GRID_PX, min(height, width) // FEWEST_LINES)
    step -= step % 2 == 0
    if step <= 1:
        return pixels
    # As items of three bytes: twice as fast as copying channel by channel.
    whole = np.ascontiguousarray(pixels).view("V3")[:, :, 0]  # (height, width)
    lines = np.ascontiguousarray(whole[step // 2 :: step, step // 2 :: step])
    return lines.view(np.uint8).reshape(*lines.shape, 3)


def header_scores(images: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of images that have `width`, `height`, `mode` and `bytes`.

    - odd_aspect_ratio: short side / long side (cleanvision).
    - greyscale: 0 where the file stores grey, else 1 (cleanvision). A grey picture that is stored
      in colour has a low `colourless_score`.
    - low_bits_per_pixel: bits of the file per pixel, at most 1.
    """
    width, height = images["width"].astype(float), images["height"].astype(float)
    bits = 8 * images["bytes"].astype(float) / (width * height)
    return pd.DataFrame(
        {
            "odd_aspect_ratio_score": np.minimum(width, height) / np.maximum(width, height),
            "greyscale_score": (~images["mode"].isin(GREY_MODES)).astype(float),
            "low_bits_per_pixel_score": bits.clip(upper=1.0),
        },
        index=images.index,
    )
