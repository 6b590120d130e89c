"""The chunks of a WebP (RFC 9649, section 2)."""

import struct
from collections.abc import Iterator

from darkroom.images.errors import truncated
from darkroom.images.integrity.picture import Picture

_PICTURES = {b"VP8 ", b"VP8L", b"ANMF"}
_KEPT = {b"VP8X", b"ICCP", b"ANIM", b"ALPH", b"EXIF", b"XMP "}


def picture(content: bytes) -> Picture:
    """Return the first picture, with its colours and orientation. Raises DecodeError."""
    announced = 8 + int.from_bytes(content[4:8], "little")
    chunks = list(_chunks(content, min(announced, len(content))))
    end = chunks[-1][2] if chunks else 12
    kinds = [content[start : start + 4] for start, _, _ in chunks]
    first = next((number for number, kind in enumerate(kinds) if kind in _PICTURES), None)
    if first is None:
        raise truncated("the picture ends beyond the file")
    is_odd = announced > len(content) or end + 8 <= announced
    kept = [
        content[start:stop]
        for number, (start, stop, _) in enumerate(chunks)
        if number == first or kinds[number] in _KEPT
    ]
    body = b"WEBP" + b"".join(chunk + bytes(len(chunk) & 1) for chunk in kept)
    return Picture(b"RIFF" + struct.pack("<I", len(body)) + body, is_odd)


def _chunks(content: bytes, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield of each whole chunk its start, its end and that of its padding."""
    at = 12
    while at + 8 <= end:
        stop = at + 8 + int(struct.unpack_from("<I", content, at + 4)[0])
        if stop > end:
            return
        yield at, stop, stop + (stop & 1)
        at = stop + (stop & 1)
