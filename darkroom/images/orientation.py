"""The EXIF orientation: how stored pixels are turned to be looked at."""

import warnings

import numpy as np
from PIL import ExifTags, Image

from darkroom.images.colours import Pixels


def read_orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, 1 to 8; None of unreadable EXIF, which harms no pixel."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF is hostile input too
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror stored pixels as their EXIF orientation says (EXIF 2.3, tag 0x0112)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
