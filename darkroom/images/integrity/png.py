"""The stream of a PNG (W3C, third edition): its chunks, their checksums, its end.

Pillow reads no further than the pixels it needs: it passes a PNG without its end or with a wrong
checksum. It refuses a whole picture, though, when a comment inflates beyond 1 MiB.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from darkroom.images.errors import corrupt, truncated

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INFLATED_LIMIT = 2**20  # Pillow's own, PngImagePlugin.MAX_TEXT_CHUNK
_MOST_DEFLATE_SAVES = 1000  # a shorter chunk cannot inflate beyond the limit
_COMPRESSED = {b"zTXt", b"iTXt", b"iCCP"}


class _Chunk(NamedTuple):
    kind: bytes
    start: int  # of the chunk in the file
    end: int


def check(content: bytes) -> None:
    """Require the end and right checksums of what makes the picture. Raises DecodeError."""
    view, kind = memoryview(content), b""
    for kind, start, end in _chunks(content):
        if kind[:1].isupper():  # critical; a broken comment harms no pixel
            (checksum,) = struct.unpack_from(">I", content, end - 4)
            if zlib.crc32(view[start + 4 : end - 4]) != checksum:
                raise corrupt(f"wrong checksum in the chunk {kind.decode('latin-1')}")
    if kind != b"IEND":
        raise truncated("the end is missing")


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """Yield each whole chunk, up to the end of the picture."""
    at = len(_SIGNATURE)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if at + 12 + length > len(content):
            return
        yield _Chunk(kind, at, at + 12 + length)
        if kind == b"IEND":
            return
        at += 12 + length


def without_bombs(content: bytes) -> bytes:
    """Return the file without comments and profiles that inflate beyond 1 MiB."""
    bombs = [chunk for chunk in _chunks(content) if _is_bomb(content, chunk)]
    kept, at = [], 0
    for chunk in bombs:
        kept.append(content[at : chunk.start])
        at = chunk.end
    return b"".join([*kept, content[at:]]) if bombs else content


def _is_bomb(content: bytes, chunk: _Chunk) -> bool:
    if chunk.kind not in _COMPRESSED or chunk.end - chunk.start < _MOST_DEFLATE_SAVES:
        return False
    body = content[chunk.start + 8 : chunk.end - 4]
    start = _compressed_from(chunk.kind, body)
    try:
        inflated = zlib.decompressobj().decompress(body[start:], _INFLATED_LIMIT)
    except zlib.error:  # broken or not compressed, which Pillow passes over
        return False
    return len(inflated) == _INFLATED_LIMIT


def _compressed_from(kind: bytes, body: bytes) -> int:
    """Return where the compressed part begins, after keyword, zero and method."""
    at = body.find(b"\0") + 2
    if kind == b"iTXt":  # a flag as well, the language and the keyword in it
        at = body.find(b"\0", at + 1) + 1
        at = body.find(b"\0", at) + 1
    return at
