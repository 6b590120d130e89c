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
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from stages.lib import streams

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB

FORMATS = {"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "MPO"}  # never EPS or WMF
EXTENSIONS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "TIFF": "tif",
    "WEBP": "webp", "PPM": "ppm",
}  # fmt: skip
_OPENED = sorted(FORMATS - {"MPO"})  # Pillow's JPEG plugin opens MPO; asked by name it fails

_PILLOW_CONVERTS = {"CMYK", "YCCK"}  # it knows Adobe's inverted ones

ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = None  # limits are our own, checked before decoding


class DecodeError(Exception):
    """An image cannot be used; `reason` is the code that becomes its row's reason.

    Codes: `empty`, `not_an_image`, `unsupported_format`, `truncated`, `corrupt`, `too_many_pixels`.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep the reason code and a detail for people."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


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
    b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif", b"II+\0": "tif", b"MM\0+": "tif",
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
        raise _unreadable(content) from error
    except Exception as error:  # Pillow's plugins raise anything on hostile headers
        raise _broken(content, error) from error
    if image.width * image.height > max_pixels:
        raise DecodeError("too_many_pixels", f"{image.width}x{image.height} > {max_pixels}")
    return image


def decode(content: bytes, max_pixels: int = 100_000_000) -> Pixels:
    """Decode the whole image; a stream that ends early or breaks is an error, never grey pixels.

    Raises DecodeError with a reason as `DecodeError` lists them.
    """
    return pixels_of(open_image(content, max_pixels), content)


def pixels_of(image: Image.Image, content: bytes, min_side: int | None = None) -> Pixels:
    """Decode an opened image completely. Raises DecodeError.

    With `min_side`, a JPEG comes at 1/2 to 1/8 of its size, no side below `min_side`; all of its
    stream is read nevertheless.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if streams.ends_early(content):
                raise DecodeError("truncated", "the end is missing")
            streams.check(content)
            pixels = _decode_jpeg(image, content, min_side) if _is_jpeg(content) else None
            if pixels is None:
                image.load()
                pixels = to_rgb(image)
            return upright(pixels, _orientation(image))
    except DecodeError:
        raise
    except Exception as error:  # Pillow's plugins raise anything on hostile data
        raise _broken(content, error) from error


def _decode_jpeg(image: Image.Image, content: bytes, min_side: int | None) -> Pixels | None:
    """Decode strictly, since Pillow passes most broken entropy-coded data.

    Returns None when the stream is whole but Pillow must convert its colours (CMYK, YCCK).
    """
    height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    if (width, height) != image.size:
        raise DecodeError("corrupt", f"two sizes: {image.size} and {(width, height)}")
    if colours in _PILLOW_CONVERTS:
        simplejpeg.decode_jpeg(content, colorspace="CMYK", min_factor=8, strict=True)
        return None
    side = min_side or 0
    return np.asarray(
        simplejpeg.decode_jpeg(
            content, colorspace="RGB", min_height=side, min_width=side, strict=True
        )
    )


def _is_jpeg(content: bytes) -> bool:
    return content[:3] == b"\xff\xd8\xff"


def _unreadable(content: bytes) -> DecodeError:
    """Say why no plugin takes these bytes."""
    extension = sniff_extension(content)
    if extension == "bin":
        foreign = streams.foreign_format(content)
        if foreign:
            return DecodeError("unsupported_format", foreign)
        return DecodeError("not_an_image", "no known image format")
    kind = next(kind for kind, known in EXTENSIONS.items() if known == extension)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.OPEN[kind][0](io.BytesIO(content), "")  # Image.open hides why; the plugin tells
    except Exception as error:
        return _broken(content, error)
    return DecodeError("corrupt", "unreadable header")


def _broken(content: bytes, error: Exception) -> DecodeError:
    """Name the reason for which Pillow or libjpeg gave up."""
    text = str(error).lower()
    if any(sign in text for sign in _ENDED) or streams.ends_early(content):
        return DecodeError("truncated", str(error))
    if any(sign in text for sign in _UNSUPPORTED):
        return DecodeError("unsupported_format", str(error))
    return DecodeError("corrupt", str(error) or repr(error))


_ENDED = ("truncated", "premature end", "exhausted", "eof", "not enough image data")
_UNSUPPORTED = ("unsupported", "unknown pixel mode", "cannot handle", "unknown data organization")


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
    if _is_jpeg(content):
        try:
            colours = simplejpeg.decode_jpeg_header(content)[2]
            if colours in _PILLOW_CONVERTS:
                return decode(content)
            pixels = simplejpeg.decode_jpeg(
                content, colorspace="RGB", min_height=min_side, min_width=min_side, strict=False
            )
        except ValueError as error:
            raise _broken(content, error) from error
        has_exif = b"Exif\0\0" in content[:65536]
        return upright(pixels, _orientation(Image.open(io.BytesIO(content))) if has_exif else 1)
    return decode(content)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; unreadable EXIF harms no pixel and counts as 1."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF is hostile input too
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) as the opened image is looked at."""
    return image.size[::-1] if _orientation(image) >= 5 else image.size


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror stored pixels as their EXIF orientation says (EXIF 2.3, tag 0x0112)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize by area when shrinking, else bilinear."""
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    source = np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(source, (width, height), interpolation=method), np.uint8)
