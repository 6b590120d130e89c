"""Whether a file holds its picture to the end, by its bytes, without decoding.

Libraries read no further than the pixels they need, and some pass what breaks off. So the end that
each format asks for is looked up here: a file that was cut is never kept, even where only a later
frame of an animation or page of a document is missing. For a JPEG the first picture counts. What
follows a complete picture does not matter.
"""

import struct

from darkroom.images.errors import truncated
from darkroom.images.integrity import boxes, jpeg, png, tiff


def check(kind: str, content: bytes) -> None:
    """Raise DecodeError where a file of this format ends early or contradicts itself."""
    checks = {
        "JPEG": jpeg.check, "PNG": png.check, "GIF": _check_gif, "TIFF": tiff.check,
        "WEBP": _check_webp, "PPM": _check_plain_pnm, "AVIF": boxes.check_items,
        "HEIF": boxes.check_items, "JPEG2000": boxes.check_code_stream,
    }  # fmt: skip
    if kind in checks:  # of a BMP Pillow itself asks for every row
        checks[kind](content)


def _check_gif(content: bytes) -> None:
    """Walk the blocks of a GIF (GIF89a specification) up to its trailer."""
    try:
        at = 13 + colour_table(content[10])
        while content[at] != 0x3B:
            if content[at] == 0x21:  # an extension: its label, then data
                at += 2
            elif content[at] == 0x2C:  # an image: its descriptor, colours, code size, then data
                at += 11 + colour_table(content[at + 9])
            else:
                return  # rubbish between blocks, as some writers leave: decoding decides
            while content[at]:
                at += 1 + content[at]
            at += 1
    except IndexError:
        raise truncated("the end is missing") from None


def colour_table(packed: int) -> int:
    """Return the bytes of the colour table that the flags of a GIF announce."""
    return 3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0


def _check_webp(content: bytes) -> None:
    """Walk the chunks of a WebP (RFC 9649, section 2), as many as the header announces."""
    end = 8 + int(struct.unpack_from("<I", content, 4)[0]) if len(content) >= 12 else 12
    if end > len(content):
        raise truncated("the end is missing")
    at = 12
    while at + 8 <= end:
        at += 8 + int(struct.unpack_from("<I", content, at + 4)[0])
        if at > end:
            raise truncated("a chunk ends beyond the file")
        at += at & 1


def _check_plain_pnm(content: bytes) -> None:
    """Require white space after the last number of a PNM in digits, as all writers leave it.

    Otherwise 25 could be the rest of 255.
    """
    if content[1:2] in b"23" and not content.rstrip(b"\0")[-1:].isspace():
        raise truncated("the last number may be cut")
