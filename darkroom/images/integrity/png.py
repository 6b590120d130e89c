"""The stream of a PNG (W3C, third edition): its chunks, their checksums, and every row inflated.

Pillow reads no further than the pixels it needs: it passes a stream that ends early or has a wrong
checksum, and rows that never came. It refuses a whole picture, though, for what stands beside it: a
comment, the tail of an animation. So the picture is taken out of the file, and nothing else.
"""

import struct
import zlib
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from darkroom.images.errors import corrupt, truncated
from darkroom.images.integrity.picture import Picture

_SIGNATURE, _END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
_CRITICAL, _ANIMATION = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}, {b"fcTL", b"fdAT"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_CLEAR = {0: {2}, 2: {6}, 3: {*range(1, 257)}}  # the lengths of tRNS
_TURNING = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # texts with an orientation
_MOST_INFLATED = 2**20  # of a text or profile; Pillow's own, PngImagePlugin.MAX_TEXT_CHUNK
_SURPLUS = 64  # bytes that some encoders leave behind the last row
# Adam7: the first column and row of each pass, and the steps from one to the next.
_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip


class _Chunk(NamedTuple):
    kind: bytes
    whole: memoryview
    is_right: bool  # its checksum

    @property
    def body(self) -> memoryview:
        return self.whole[8:-4]


def picture(content: bytes) -> Picture:
    """Return the picture as a PNG without compression, its colours and orientation with it.

    Raises DecodeError.
    """
    chunks = list(_chunks(content))
    kinds = [chunk.kind for chunk in chunks]
    if b"IDAT" not in kinds:
        raise truncated("there is no picture")
    first = kinds.index(b"IDAT")
    last = first + len(list(takewhile(b"IDAT".__eq__, kinds[first:])))
    for chunk in chunks[:last]:
        if chunk.kind[:1].isupper() and not (chunk.is_right and chunk.kind in _CRITICAL):
            raise corrupt(f"the chunk {chunk.kind.decode('latin-1')} is broken or unknown")
    if kinds[0] != b"IHDR" or kinds[:first].count(b"IHDR") > 1 or len(chunks[0].body) != 13:
        raise corrupt("there is no header")
    colour_type = content[25]
    if colour_type == 3 and b"PLTE" not in kinds[:first]:
        raise corrupt("there is no palette")
    raw, surplus = _inflate(content, [chunk.body for chunk in chunks[first:last]])

    beside = [*chunks[:first], *chunks[last:]]
    sound = [chunk for chunk in beside if chunk.is_right and _is_sound(chunk, colour_type)]
    ends = kinds[last:].count(b"IEND") == 1 and not _CRITICAL.intersection(kinds[last:-1])
    is_odd = surplus or len(sound) < len(beside) or not ends or not _is_animated_well(beside)
    kept = [chunk.whole for chunk in sound if chunk.kind != b"IEND" and _is_needed(chunk)]
    stored = _store(raw)
    head = struct.pack(">I4s", sum(map(len, stored)), b"IDAT")
    return Picture(b"".join([_SIGNATURE, *kept, head, *stored, bytes(4), _END]), is_odd)


def size(content: bytes) -> tuple[int, int]:
    """Return (width, height) of a PNG. Raises struct.error where the header is missing."""
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """Yield each whole chunk, up to the end of the picture."""
    view, at = memoryview(content), len(_SIGNATURE)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            return
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        yield _Chunk(kind, view[at:end], zlib.crc32(view[at + 4 : end - 4]) == checksum)
        if kind == b"IEND":
            return
        at = end


def _inflate(content: bytes, data: list[memoryview]) -> tuple[bytes, bool]:
    """Return the filtered rows, and whether more followed them. Raises DecodeError."""
    expected = _bytes_of_rows(content)
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(b"".join(data), expected + _SURPLUS)
    except zlib.error as error:
        raise corrupt(str(error)) from error
    if len(raw) < expected or not (stream.eof or stream.unconsumed_tail):
        raise truncated("the stream ends before the last row")
    if not stream.eof:
        raise corrupt("the stream goes on behind the last row")
    return raw[:expected], len(raw) > expected or bool(stream.unused_data)


def _bytes_of_rows(content: bytes) -> int:
    """Return what the header announces: the rows of all passes, each led by its filter."""
    width, height, depth, colour_type, compression, filters, interlace = struct.unpack_from(
        ">IIBBBBB", content, 16
    )
    if colour_type not in _CHANNELS or compression or filters or interlace > 1:
        raise corrupt("the header names a method that does not exist")
    if not (width and height):
        raise corrupt("a picture without size")
    total = 0
    for left, top, across, down in _PASSES if interlace else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0:
            total += max(0, rows) * (1 + (columns * depth * _CHANNELS[colour_type] + 7) // 8)
    return total


def _store(raw: bytes) -> list[bytes | memoryview]:
    """Return a zlib stream of stored blocks: what was inflated once need not be twice."""
    view, parts = memoryview(raw), list[bytes | memoryview]()
    for start in range(0, len(raw), 65535):
        block = view[start : start + 65535]
        is_last = start + len(block) == len(raw)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 65535), block]
    return [b"\x78\x01", *parts, struct.pack(">I", zlib.adler32(raw))]


def _is_sound(chunk: _Chunk, colour_type: int) -> bool:
    """Say whether a chunk beside the data holds what its kind announces."""
    if chunk.kind == b"tRNS":
        return len(chunk.body) in _CLEAR.get(colour_type, ())
    return _inflated_bytes(chunk) is not None


def _is_needed(chunk: _Chunk) -> bool:
    """Say whether the colours or the orientation of the picture depend on a sound chunk."""
    if chunk.kind in {b"iCCP", b"tEXt", b"zTXt", b"iTXt"}:
        fits = _inflated_bytes(chunk) != _MOST_INFLATED
        return fits and (chunk.kind == b"iCCP" or bytes(chunk.body[:24]).startswith(_TURNING))
    return chunk.kind in {b"IHDR", b"PLTE", b"tRNS", b"eXIf"}


def _inflated_bytes(chunk: _Chunk) -> int | None:
    """Return how many bytes a text or profile inflates to, up to a limit; None of a broken one."""
    if chunk.kind not in {b"zTXt", b"iTXt", b"iCCP"}:
        return 0
    body = bytes(chunk.body)
    at = body.find(b"\0") + 1  # behind the keyword
    if chunk.kind == b"iTXt":
        if body[at : at + 1] == b"\0":  # not compressed
            return 0
        at += 1
    if body[at : at + 1] != b"\0":  # the only method
        return None
    if chunk.kind == b"iTXt":  # a language and the keyword in it
        at = body.find(b"\0", body.find(b"\0", at + 1) + 1)
    try:
        return len(zlib.decompressobj().decompress(body[at + 1 :], _MOST_INFLATED))
    except zlib.error:
        return None


def _is_animated_well(beside: list[_Chunk]) -> bool:
    """Say whether an animation has all its frames, in order (third edition, 11.3.6)."""
    announced = [chunk for chunk in beside if chunk.kind == b"acTL"]
    parts = [chunk for chunk in beside if chunk.kind in _ANIMATION]
    if not announced:
        return not parts
    numbers = [bytes(chunk.body[:4]) for chunk in parts]
    frames = [chunk.kind for chunk in parts].count(b"fcTL")
    return bytes(announced[0].body[:4]) == struct.pack(">I", frames) and numbers == [
        struct.pack(">I", number) for number in range(len(parts))
    ]
