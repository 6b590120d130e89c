"""Whatever a file stores to RGB uint8 in sRGB.

| stored | becomes |
|---|---|
| 1 bit, grey, palette, YCbCr, HSV | RGB by Pillow |
| alpha, transparent colours | laid over white |
| 16 bit grey | divided by 257 and rounded; 16 bit colours keep their upper 8 bits (Pillow) |
| 32 bit, floating point | from their least to their greatest finite value; NaN is the least |
| CMYK, YCCK (Adobe's inverted ones too) | by the embedded profile, else R = (1 - C)(1 - K) |
| Lab | through D50, as ICC profiles have it |
| an embedded ICC profile | converted to sRGB, unless it changes no colour by more than `SAME` |

A profile that is broken, of another colour space or larger than `MAX_PROFILE_BYTES` is passed over.
HDR transfer curves (PQ, HLG) are not mapped.
"""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB

SAME = 3  # of 255; profiles that all mean sRGB differ by as much in their rounding
MAX_PROFILE_BYTES = 4 * 2**20  # a press profile of CMYK takes 0.5 to 3 MB
_ROWS = 256  # converted at a time, so that deep pictures take no eightfold memory

_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of a profile → as Pillow calls it
_SRGB = ImageCms.createProfile("sRGB")


def to_rgb(image: Image.Image) -> Pixels:
    """Convert any mode to RGB uint8."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_deep(image)
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


def _scale_deep(image: Image.Image) -> Pixels:
    """Bring deep grey to 8 bits: 16 bit by its range, 32 bit and float by their extremes."""
    deep = np.asarray(image)  # (height, width)
    low, high = _range_of(deep, image.format)
    grey = np.empty(deep.shape, np.uint8)
    for top in range(0, len(deep), _ROWS):
        rows = deep[top : top + _ROWS].astype(np.float64)
        np.nan_to_num(rows, copy=False, nan=low, posinf=high, neginf=low)
        share = (rows - low) / (high - low) if high > low else np.zeros(rows.shape)
        grey[top : top + _ROWS] = (share * 255).round()
    return np.repeat(grey[:, :, None], 3, axis=2)


def _range_of(deep: NDArray[np.generic], kind: str | None) -> tuple[float, float]:
    """Return what becomes black and white."""
    finite = deep[np.isfinite(deep)] if deep.dtype.kind == "f" else deep
    if finite.size == 0:
        return 0.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    if deep.dtype.itemsize == 2 or kind == "PPM" or (low >= 0 and 255 < high <= 65535):
        return 0.0, 65535.0
    return low, high


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
