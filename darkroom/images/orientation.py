"""The EXIF orientation: how stored pixels are turned to be looked at."""

import warnings

import numpy as np
from PIL import ExifTags, Image

from darkroom.images.colours import Pixels


def read_orientation(image: Image.Image) -> tuple[int, bool]:
    """Return the EXIF orientation, 1 to 8, and whether EXIF is sound: broken, it harms no pixel."""
    embedded = image.info.get("exif", b"")
    embedded = embedded.removeprefix(b"Exif\0\0") if isinstance(embedded, bytes) else b""
    is_sound = not embedded or embedded[:4] in {b"II*\0", b"MM\0*"}
    try:
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF is hostile input too
        return 1, False
    is_sound &= not any("Corrupt EXIF" in str(each.message) for each in complaints)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1, is_sound


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror stored pixels as their EXIF orientation says (EXIF 2.3, tag 0x0112)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
