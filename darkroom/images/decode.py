"""Bytes to pixels: the one way in which every stage decodes, and the reasons why it cannot.

Formats are an allow-list (`formats`); a file is recognised by its bytes, never by its name.
Pixels come as RGB uint8 in sRGB (`colours`), (height, width, 3), with the orientation
applied. Of an animation, a burst or a document the first picture counts, of a HEIF the primary one.
What stands beside it may be broken, as long as the picture is whole (`integrity`).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import simplejpeg
from PIL import Image

from darkroom.images import formats, header_size
from darkroom.images.colours import Pixels, has_broken_profile, largest_grey, to_rgb, to_srgb
from darkroom.images.errors import OUT_OF_MEMORY, DecodeError, corrupt
from darkroom.images.grey_range import GreyRange
from darkroom.images.integrity import check, jpeg, tiff
from darkroom.images.integrity.picture import Picture
from darkroom.images.orientation import read_orientation, upright

__all__ = ["DecodeError", "DecodedImage", "Pixels", "decode", "read_image"]

_PILLOW_CONVERTS = {"CMYK", "YCCK"}  # it knows Adobe's inverted ones


class DecodedImage(NamedTuple):
    """What a file shows, and how it stores it."""

    pixels: Pixels  # upright; perhaps at a half to an eighth of the size
    width: int  # of the upright image in full
    height: int
    format: str  # as Pillow calls it, a burst of JPEGs JPEG
    mode: str  # how Pillow calls the way in which the file stores a pixel
    quantization: dict[int, list[int]] | None  # the tables of a JPEG
    odd_structure: bool  # something beside the picture is broken, which no viewer shows
    largest_grey: int | None = None  # of 16 bit greys, whose set has one range


def read_image(
    content: bytes, max_pixels: int | None, min_side: int | None = None,
    grey_range: GreyRange | None = None,
) -> DecodedImage:  # fmt: skip
    """Read header, pixels and EXIF in one go: the one verdict on whether an image is whole.

    With `min_side`, a JPEG comes at 1/2 to 1/8 of its size, no side below `min_side`; all of its
    stream is read nevertheless. Deep greys come over `grey_range`. Raises DecodeError with a reason
    as `DecodeError` lists them.
    """
    kind = _kind_of(content)
    with _naming_faults(kind, content):
        _check_size(header_size.announced_size(kind, content), max_pixels)
        try:
            return _decode(kind, check.picture(kind, content), max_pixels, min_side, grey_range)
        except DecodeError:
            raise
        except Exception as error:
            if kind != "JPEG":
                raise
            try:  # what stands beside the picture may be the fault
                bare = Picture(jpeg.bare(content), is_odd=True)
                return _decode(kind, bare, max_pixels, min_side, grey_range)
            except DecodeError:
                raise
            except Exception:
                raise error from None


def _decode(
    kind: str, picture: Picture, max_pixels: int | None, min_side: int | None,
    grey_range: GreyRange | None,
) -> DecodedImage:  # fmt: skip
    """Return what the plugin of this format reads."""
    (content, is_odd), pixels, largest = picture, None, None
    image = formats.open_as(kind, content)
    _check_size(image.size, max_pixels)
    size, mode = image.size, image.mode
    if kind == "JPEG":
        pixels = _decode_jpeg(image, content, min_side)
    elif kind == "TIFF":
        tiff.check_data(content)
    if pixels is None:
        image.load()  # before EXIF, which of a PNG loads the pixels and forgets what failed
        if kind == "PNG":  # whose rows Pillow would keep, for later frames
            vars(image).pop("_fp", None)
            del picture, content
        pixels, largest = to_rgb(image, grey_range), largest_grey(image)
    turn, is_sound = read_orientation(image)
    width, height = size[::-1] if turn >= 5 else size
    is_odd |= not is_sound or has_broken_profile(image)
    tables = getattr(image, "quantization", None)
    return DecodedImage(upright(pixels, turn), width, height, kind, mode, tables, is_odd, largest)


def decode(
    content: bytes, max_pixels: int | None = None, min_side: int | None = None,
    grey_range: GreyRange | None = None,
) -> Pixels:  # fmt: skip
    """Return the pixels that `read_image` reads; no limit is for files of one's own making.

    Raises DecodeError.
    """
    return read_image(content, max_pixels, min_side, grey_range).pixels


@contextmanager
def _naming_faults(kind: str, content: bytes) -> Iterator[None]:
    """Raise a DecodeError for whatever Pillow's plugins raise on hostile data."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DecodeError:
        raise
    except Exception as error:
        raise _fault(kind, content, error) from error


def _check_size(size: tuple[int, int], max_pixels: int | None) -> None:
    if max_pixels is not None and size[0] * size[1] > max_pixels:
        raise DecodeError("too_many_pixels", f"{size[0]}x{size[1]} > {max_pixels}")


def _kind_of(content: bytes) -> str:
    if not content:
        raise DecodeError("empty")
    kind = formats.sniff(content)
    if kind is None:
        if foreign := formats.foreign_format(content):
            raise DecodeError("unsupported_format", foreign)
        raise DecodeError("not_an_image", "no known image format")
    return kind


def _decode_jpeg(image: Image.Image, content: bytes, min_side: int | None) -> Pixels | None:
    """Decode strictly, since Pillow passes most broken entropy-coded data.

    Returns None when the stream is whole but Pillow must convert its colours (CMYK, YCCK).
    """
    height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    if (width, height) != image.size:
        raise corrupt(f"two sizes: {image.size} and {(width, height)}")
    if colours in _PILLOW_CONVERTS:
        simplejpeg.decode_jpeg(content, colorspace="CMYK", min_height=1, min_width=1, strict=True)
        return None
    side = min_side or 0
    pixels = simplejpeg.decode_jpeg(
        content, colorspace="RGB", min_height=side, min_width=side, strict=True
    )
    return to_srgb(pixels, image.info.get("icc_profile"), grey=image.mode == "L")


def _fault(kind: str, content: bytes, error: Exception) -> DecodeError:
    """Name the reason for which Pillow or libjpeg gave up."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in _EXHAUSTED):
        return DecodeError(OUT_OF_MEMORY, str(error) or "beyond what one image may take")
    try:
        check.picture(kind, content)
    except DecodeError as fault:
        return fault
    except Exception:  # the first error tells more
        pass
    if any(sign in text for sign in _ENDED):
        return DecodeError("truncated", str(error))
    if any(sign in text for sign in _UNSUPPORTED):
        return DecodeError("unsupported_format", str(error))
    return DecodeError("corrupt", str(error) or repr(error))


_EXHAUSTED = ("out of memory", "insufficient memory", "cannot allocate")
_ENDED = (
    "truncated", "premature end", "exhausted", "eof", "not enough image data",
    "requires a buffer of",
)  # fmt: skip
_UNSUPPORTED = (
    "unsupported", "unknown pixel mode", "cannot handle", "unknown data organization",
    "not supported", "not installed", "determine subsampling level",
)  # fmt: skip
