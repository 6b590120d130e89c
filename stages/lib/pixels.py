"""Bytes to pixels: the one way in which every stage decodes, and the reasons why it cannot.

Formats are an allow-list; a file is judged by its bytes, never by its name. Pixels come as RGB
uint8 (height, width, 3) with the EXIF orientation applied: alpha is laid over white, 16 bit is
scaled to 8, CMYK and palettes are converted by Pillow, an animation gives its first frame.
"""

import io
import warnings

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB

FORMATS = {"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "MPO"}  # never EPS or WMF
EXTENSIONS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "TIFF": "tif",
    "WEBP": "webp", "PPM": "ppm",
}  # fmt: skip
_OPENED = sorted(FORMATS - {"MPO"})  # Pillow's JPEG plugin opens MPO; asked by name it fails

ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = None  # limits are our own, checked before decoding


class DecodeError(Exception):
    """An image cannot be used; `reason` is the code that becomes its row's reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep the reason code (`empty`, `not_an_image`, `truncated`, `corrupt`) and a detail."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def sniff_extension(content: bytes) -> str:
    """Return the file extension that the first bytes tell, `bin` when they tell no image format."""
    head = content[:16]
    for magic, extension in _MAGIC.items():
        if head.startswith(magic):
            return extension
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "ppm"
    return "bin"


_MAGIC = {
    b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF87a": "gif", b"GIF89a": "gif",
    b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif",
}  # fmt: skip


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Read the header alone and check format and size. Raises DecodeError."""
    if not content:
        raise DecodeError("empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_OPENED)
    except UnidentifiedImageError as error:
        reason = "corrupt" if sniff_extension(content) != "bin" else "not_an_image"
        raise DecodeError(reason, "unreadable header") from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise DecodeError("corrupt", str(error)) from error
    except Exception as error:  # Pillow's plugins raise anything on hostile headers
        raise DecodeError("corrupt", repr(error)) from error
    if image.width * image.height > max_pixels:
        raise DecodeError("too_many_pixels", f"{image.width}x{image.height} > {max_pixels}")
    return image


def decode(content: bytes, max_pixels: int = 100_000_000) -> Pixels:
    """Decode the whole image; a stream that ends early or breaks is an error, never grey pixels.

    Raises DecodeError with the reason `empty`, `not_an_image`, `too_many_pixels`, `truncated` or
    `corrupt`.
    """
    image = open_image(content, max_pixels)
    return pixels_of(image, content)


def pixels_of(image: Image.Image, content: bytes) -> Pixels:
    """Decode an opened image completely. Raises DecodeError."""
    if image.format in {"JPEG", "MPO"}:
        _refuse_broken_jpeg(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        ended = "truncated" in str(error).lower() or "eof" in str(error).lower()
        raise DecodeError("truncated" if ended else "corrupt", str(error)) from error
    except Exception as error:  # Pillow's plugins raise anything on hostile data
        raise DecodeError("corrupt", repr(error)) from error


def _refuse_broken_jpeg(content: bytes) -> None:
    """Decode strictly at 1/8 of the size, since Pillow passes some broken entropy-coded data."""
    if b"\xff\xd9" not in content[-4096:] and b"\xff\xd9" not in content:
        raise DecodeError("truncated", "no end-of-image marker")
    try:
        simplejpeg.decode_jpeg(content, colorspace="GRAY", min_factor=8, strict=True)
    except ValueError as error:
        text = str(error).lower()
        if "unsupported" in text or "colorspace" in text or "cmyk" in text:
            return  # CMYK and friends: Pillow judges them
        ended = "premature end" in text or "exhausted" in text
        raise DecodeError("truncated" if ended else "corrupt", str(error)) from error


def to_rgb(image: Image.Image) -> Pixels:
    """Convert any mode to RGB uint8; alpha is laid over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_deep(np.asarray(image))
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _scale_deep(values: NDArray[np.generic]) -> Pixels:
    """Bring deep grey to 8 bits: 16 bit by its range, 32 bit and float by their extremes."""
    deep = np.nan_to_num(values.astype(np.float64))
    if values.dtype == np.uint16 or (deep.min() >= 0 and 255 < deep.max() <= 65535):
        grey = deep / 257
    else:
        low, high = deep.min(), deep.max()
        grey = (deep - low) * (255 / (high - low) if high > low else 0)
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2)


def decode_at_least(content: bytes, min_side: int) -> Pixels:
    """Decode for a network: a JPEG may come at 1/2 to 1/8 of its size, never below `min_side`.

    For images that `clean` has found whole. Raises DecodeError.
    """
    if content[:3] == b"\xff\xd8\xff" and _exif_orientation(content) == 1:
        try:
            return simplejpeg.decode_jpeg(
                content, colorspace="RGB", min_height=min_side, min_width=min_side, strict=False
            )
        except ValueError:
            pass  # CMYK and other colour spaces: Pillow converts them
    return decode(content)


def _exif_orientation(content: bytes) -> int:
    if b"Exif\0\0" not in content[:65536]:
        return 1
    return int(Image.open(io.BytesIO(content)).getexif().get(0x0112, 1))


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize by area when shrinking, else bilinear."""
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    source = np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(source, (width, height), interpolation=method), np.uint8)
