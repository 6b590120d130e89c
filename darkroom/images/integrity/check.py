"""What of a file makes its picture, and whether all of that is there, by its bytes.

Libraries read no further than the pixels they need, and some pass what breaks off. So the end of
the picture is looked up here, for each format in its own way: a file that was cut before it is
never kept. Damage beside the picture (a comment, a profile, a later frame or page) is noted and
left out, so that it stops no decoder; what merely follows a picture does not matter.
"""

from collections.abc import Callable

from darkroom.images.errors import truncated
from darkroom.images.integrity import bmp, boxes, gif, jpeg, png, tiff, webp
from darkroom.images.integrity.picture import Picture


def picture(kind: str, content: bytes) -> Picture:
    """Return what its plugin gets of a file. Raises DecodeError where the picture is not whole."""
    readers: dict[str, Callable[[bytes], Picture]] = {
        "JPEG": jpeg.picture, "PNG": png.picture, "GIF": gif.picture, "TIFF": tiff.picture,
        "WEBP": webp.picture, "PPM": _plain_pnm, "AVIF": boxes.items, "HEIF": boxes.named_items,
        "JPEG2000": boxes.code_stream, "BMP": bmp.picture,
    }  # fmt: skip
    return readers[kind](content)


def _plain_pnm(content: bytes) -> Picture:
    """Require white space after the last number of a PNM in digits, as all writers leave it.

    Otherwise 25 could be the rest of 255.
    """
    if content[1:2] in b"23" and not content.rstrip(b"\0")[-1:].isspace():
        raise truncated("the last number may be cut")
    return Picture(content)
