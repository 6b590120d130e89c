"""Whatever a file stores to RGB uint8 in sRGB.

| stored | becomes |
|---|---|
| 1 bit, grey, palette, YCbCr, HSV | RGB by Pillow |
| alpha, transparent colours | laid over white |
| 16 bit grey | from 0 to 65,535, or over the range of the set (`grey_range`), rounded |
| 16 bit colours | their upper 8 bits (Pillow) |
| 32 bit, floating point | from the least to the greatest finite value; NaN is the least |
| CMYK, YCCK (Adobe's inverted ones too) | by the embedded profile, else R = (1 - C)(1 - K) |
| Lab | through D50, as ICC profiles have it |
| an embedded ICC profile | converted to sRGB, unless it changes no colour by more than `SAME` |

A range that the settings give holds for every deep grey. A profile that is broken, of another
colour space or larger than `MAX_PROFILE_BYTES` is passed over.
HDR transfer curves (PQ, HLG) are not mapped.
"""

import io
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from darkroom.images.grey_range import SIXTEEN_BITS, GreyRange

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB

SAME = 3  # of 255; profiles that all mean sRGB differ by as much in their rounding
MAX_PROFILE_BYTES = 4 * 2**20  # a press profile of CMYK takes 0.5 to 3 MB
_ROWS = 256  # converted at a time, so that deep pictures take no eightfold memory

_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of a profile → as Pillow calls it
_SRGB = ImageCms.createProfile("sRGB")


def is_deep(mode: str) -> bool:
    """Return whether a pixel of this mode of Pillow's is one grey of more than 8 bits."""
    return mode.startswith("I") or mode == "F"


def to_rgb(image: Image.Image, grey_range: GreyRange | None = None) -> Pixels:
    """Convert any mode to RGB uint8."""
    profile = image.info.get("icc_profile")
    if is_deep(image.mode):
        return _scale_deep(image, grey_range or SIXTEEN_BITS)
    if image.mode == "CMYK":
        transform = _transform(profile, "CMYK")
        converted = ImageCms.applyTransform(image, transform) if transform else None
        return np.asarray(converted or image.convert("RGB"))
    if image.mode == "LAB":
        return np.asarray(ImageCms.applyTransform(image, _from_lab()))
    grey = image.mode in {"1", "L", "LA", "La"}
    return to_srgb(np.asarray(_flatten(image)), profile, grey=grey)


def to_srgb(pixels: Pixels, profile: bytes | None, *, grey: bool = False) -> Pixels:
    """Convert decoded pixels by the profile that their file embeds."""
    transform = _transform(profile, "L" if grey else "RGB")
    if transform is None:
        return pixels
    source = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    return np.asarray(ImageCms.applyTransform(source, transform))


def has_broken_profile(image: Image.Image) -> bool:
    """Say whether a file embeds a profile that is none; its pixels then count as sRGB."""
    profile: bytes | None = image.info.get("icc_profile")
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return False
    return _opened(bytes(profile)) is None


@lru_cache(maxsize=8)
def _opened(profile: bytes) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _flatten(image: Image.Image) -> Image.Image:
    """Lay what is transparent over white."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in {"RGBA", "LA", "PA", "RGBa"} or "transparency" in image.info:
        clear = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), clear)
    return image if image.mode == "RGB" else image.convert("RGB")  # a copy would take its memory


def largest_grey(image: Image.Image) -> int | None:
    """Return the largest value of a 16 bit grey, or what its file declares; None for all others.

    A PNM declares its range, too, and Pillow brings it to 16 bits.
    """
    if not is_deep(image.mode) or image.format == "PPM":
        return None
    extremes = _extremes(deep := np.asarray(image))
    if extremes is None or not _is_sixteen_bits(deep, *extremes):
        return None
    declared = _declared(getattr(image, "tag_v2", {}))
    return max(math.ceil(extremes[1]), declared if declared <= SIXTEEN_BITS.white else 0)


def _declared(tags: Mapping[int, Any]) -> int:
    """Return the largest value that the tags of a TIFF allow, 0 where they do not say."""
    bits, largest = tags.get(258), tags.get(281)  # BitsPerSample, MaxSampleValue
    values = [2 ** bits[0] - 1] if isinstance(bits, tuple) and bits[0] < 16 else []
    values += [largest[0] if isinstance(largest, tuple) else largest]
    return max((value for value in values if isinstance(value, int)), default=0)


def _extremes(deep: NDArray[np.generic]) -> tuple[float, float] | None:
    """Return the least and the greatest finite value, None without any."""
    finite = deep[np.isfinite(deep)] if deep.dtype.kind == "f" else deep
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _is_sixteen_bits(deep: NDArray[np.generic], low: float, high: float) -> bool:
    """Return whether values within these extremes are those of a file with 16 bits."""
    return deep.dtype.itemsize == 2 or (low >= 0 and 255 < high <= SIXTEEN_BITS.white)


def _scale_deep(image: Image.Image, grey_range: GreyRange) -> Pixels:
    """Bring deep grey to 8 bits: 16 bit by the range, 32 bit and float by their extremes."""
    deep = np.asarray(image)  # (height, width)
    low, high = _range_of(deep, image.format, grey_range)
    grey = np.empty(deep.shape, np.uint8)
    for top in range(0, len(deep), _ROWS):
        rows = deep[top : top + _ROWS].astype(np.float64)
        np.nan_to_num(rows, copy=False, nan=low, posinf=high, neginf=low)
        share = (rows - low) / (high - low) if high > low else np.zeros(rows.shape)
        grey[top : top + _ROWS] = (share.clip(0, 1) * 255).round()
    return np.repeat(grey[:, :, None], 3, axis=2)


def _range_of(
    deep: NDArray[np.generic], kind: str | None, grey_range: GreyRange
) -> tuple[float, float]:
    """Return what becomes black and white."""
    extremes = _extremes(deep)
    if extremes is None:
        return 0.0, 0.0
    if kind == "PPM":
        return SIXTEEN_BITS.black, SIXTEEN_BITS.white
    if grey_range.given or _is_sixteen_bits(deep, *extremes):
        return grey_range.black, grey_range.white
    return extremes


def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return None
    return _built(bytes(profile), mode)


@lru_cache(maxsize=8)
def _built(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the way to sRGB once per profile; None where there is nothing to convert, or no way."""
    try:
        opened = _opened(profile)
        if opened is None or _SPACES.get(opened.profile.xcolor_space) != mode:
            return None
        transform = ImageCms.buildTransform(opened, _SRGB, mode, "RGB")
        probe = _probe(mode)
        moved = ImageCms.applyTransform(probe, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    change = np.asarray(moved).astype(int) - np.asarray(probe.convert("RGB"))
    return transform if mode == "CMYK" or int(np.abs(change).max()) > SAME else None


def _probe(mode: str) -> Image.Image:
    """Return a picture of colours all over the cube, or of all greys."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return Image.fromarray(cube).convert(mode)


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")
