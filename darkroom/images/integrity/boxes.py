"""The stream of what consists of boxes (ISO/IEC 14496-12): AVIF, HEIF and JPEG 2000.

AVIF and HEIF name the place of each item's data (`iloc`); a JPEG 2000 code stream (ITU-T T.800)
names the length of each tile part and ends with a marker.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from darkroom.images.errors import corrupt, truncated
from darkroom.images.integrity.picture import Picture

_TOP = {
    b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"mfra", b"sidx", b"styp", b"free", b"skip",
    b"uuid", b"mini", b"pnot", b"jP  ", b"jp2h", b"jp2c", b"jp2i", b"xml ", b"uinf", b"rreq",
    b"jpch", b"jplh", b"asoc", b"nlst", b"ftbl", b"dtbl", b"res ", b"bidb", b"etyp",
}  # fmt: skip

_FIRST = {b"ftyp", b"jP  "}  # a second one begins another file


class _Box(NamedTuple):
    kind: bytes
    start: int  # of what it holds
    end: int


def items(content: bytes) -> Picture:
    """Require all data of the primary item of an AVIF or HEIF. Raises DecodeError.

    Other items (a thumbnail, EXIF, the rest of a burst) may be missing.
    """
    boxes = list(_top_boxes(content))
    missing = {
        item
        for box in _descend(content, boxes, b"meta", b"iloc")
        for item in _missing_items(content, box)
    }
    if missing & _needed_items(content, boxes):
        raise truncated("an item lies beyond the end")
    is_cut = bool(boxes) and boxes[-1].end > len(content)
    if is_cut and (boxes[-1].kind != b"mdat" or not missing):
        raise truncated(f"the box {boxes[-1].kind.decode('latin-1').strip()} ends beyond the file")
    return Picture(content[: _end_of(boxes, content)], bool(missing))


def named_items(content: bytes) -> Picture:
    """Require, beside the items of a HEIF, text for their kinds: pi-heif 1.4 crashes at others."""
    _check_names(content)
    return items(content)


def _needed_items(content: bytes, boxes: list[_Box]) -> set[int]:
    """Return the primary item and all that it consists of: tiles, alpha."""
    needed = set()
    for box in _descend(content, boxes, b"meta", b"pitm"):
        wide = 4 if content[box.start] else 2
        needed.add(_Reader(content, box.start + 4, box.end).number(wide))
    references = list[tuple[bytes, int, list[int]]]()
    for box in _descend(content, boxes, b"meta", b"iref"):
        wide = 4 if content[box.start] else 2
        for inner in _boxes(content, box.start + 4, box.end):
            reader = _Reader(content, inner.start, inner.end)
            source = reader.number(wide)
            targets = [reader.number(wide) for _ in range(reader.number(2))]
            references.append((inner.kind, source, targets))
    while True:
        more = {item for kind, source, targets in references for item in targets
                if kind == b"dimg" and source in needed}  # fmt: skip
        more |= {source for kind, source, targets in references
                 if kind == b"auxl" and needed.intersection(targets)}  # fmt: skip
        if more <= needed:
            return needed
        needed |= more


def largest_picture(content: bytes) -> tuple[int, int]:
    """Return the largest size that the properties of an AVIF or HEIF announce."""
    path = b"meta", b"iprp", b"ipco", b"ispe"
    sizes = [
        struct.unpack_from(">II", content, box.start + 4)
        for box in _descend(content, _boxes(content, 0, len(content)), *path)
        if box.start + 12 <= len(content)
    ]
    return max(sizes, key=lambda size: int(size[0] * size[1]), default=(0, 0))


def _descend(content: bytes, level: Iterable[_Box], kind: bytes, *below: bytes) -> Iterator[_Box]:
    """Yield the boxes at the end of a path."""
    for box in level:
        if box.kind == kind and not below:
            yield box
        elif box.kind == kind:
            start = box.start + _fields(content, box)
            yield from _descend(content, _boxes(content, start, box.end), *below)


def _fields(content: bytes, box: _Box) -> int:
    """Return how many bytes stand before the boxes inside: version, flags and a count."""
    if box.kind == b"iinf":
        return 8 if content[box.start : box.start + 1] > b"\0" else 6
    return 4 if box.kind == b"meta" else 0


def _check_names(content: bytes) -> None:
    for box in _descend(content, _boxes(content, 0, len(content)), b"meta", b"iinf", b"infe"):
        version = content[box.start : box.start + 1]
        try:
            content[box.start + (10 if version > b"\2" else 8) : box.end].decode()
        except UnicodeDecodeError as error:
            raise corrupt("the kind of an item is no text") from error


def _end_of(boxes: list[_Box], content: bytes) -> int:
    """Return where the last box ends; what follows is no part of the picture."""
    return min(len(content), max((box.end for box in boxes), default=len(content)))


def _top_boxes(content: bytes) -> Iterator[_Box]:
    """Yield the boxes of the file, up to something that is none, as garbage after the picture."""
    begun = set()
    for box in _boxes(content, 0, len(content)):
        if box.kind not in _TOP or box.kind in begun:
            return
        begun |= {box.kind} & _FIRST
        yield box


def _boxes(content: bytes, at: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two places; the last may claim to end beyond."""
    while at + 8 <= min(end, len(content)):
        size, kind = struct.unpack_from(">I4s", content, at)
        header = 8
        if size == 1:  # a long one
            header = 16
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        elif size == 0:  # up to the end
            size = end - at
        if size < header:
            return
        yield _Box(kind, at + header, at + size)
        at += size


def _missing_items(content: bytes, box: _Box) -> Iterator[int]:
    """Yield each item whose data does not lie in the file (ISO/IEC 14496-12, 8.11.3)."""
    version = content[box.start]
    widths = int.from_bytes(content[box.start + 4 : box.start + 6], "big")
    of_offset, of_length, of_base, of_index = (widths >> shift & 15 for shift in (12, 8, 4, 0))
    reader = _Reader(content, box.start + 6, box.end)
    wide = 4 if version == 2 else 2
    for _ in range(reader.number(wide)):
        item = reader.number(wide)
        in_file = version == 0 or reader.number(2) & 15 == 0
        reader.number(2)  # which file: always this one
        base = reader.number(of_base)
        for _ in range(reader.number(2)):
            reader.number(of_index if version else 0)
            start, length = base + reader.number(of_offset), reader.number(of_length)
            if in_file and start + length > len(content):
                yield item


class _Reader:
    """Numbers one after the other."""

    def __init__(self, content: bytes, at: int, end: int) -> None:
        self.content, self.at, self.end = content, at, end

    def number(self, width: int) -> int:
        """Return the next number of so many bytes; 0 bytes mean 0."""
        self.at += width
        if self.at > self.end:
            raise corrupt("the list of items is too short")
        return int.from_bytes(self.content[self.at - width : self.at], "big")


def grid_size(content: bytes) -> tuple[int, int]:
    """Return (width, height) of a JPEG 2000. Raises struct.error where the header is missing."""
    at = content.find(b"\xff\x4f\xff\x51") + 8
    right, bottom, left, top = struct.unpack_from(">4I", content, at)
    return right - left, bottom - top


def code_stream(content: bytes) -> Picture:
    """Require every tile part and the end marker of a JPEG 2000. Raises DecodeError."""
    if content[:4] == b"\xff\x4f\xff\x51":
        _check_tiles(content, 0, len(content))
        return Picture(content)
    boxes = list(_top_boxes(content))
    streams = [number for number, box in enumerate(boxes) if box.kind == b"jp2c"]
    if not streams:
        raise truncated("there is no code stream")
    stream = boxes[streams[0]]
    _check_tiles(content, stream.start, min(stream.end, len(content)))
    whole = [box for box in boxes if box.end <= len(content)]
    return Picture(content[: _end_of(whole, content)], len(whole) < len(boxes))


def _check_tiles(content: bytes, start: int, end: int) -> None:
    """Walk the markers of a code stream, tile part by tile part (T.800, annex A)."""
    parts: dict[int, int] = {}  # tile → how many of its parts are still missing; -1 = not said
    at, tiles = start + 2, 1
    while at + 12 <= end and content[at : at + 2] != _SOT:
        if content[at : at + 2] == _SIZ:
            tiles = _count_tiles(content, at)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    while at + 12 <= end and content[at : at + 2] == _SOT:
        tile, length, _, count = struct.unpack_from(">HIBB", content, at + 4)
        parts[tile] = (parts.get(tile, 0) if not count else parts.get(tile, count)) - 1
        if length == 0:  # the last one, up to the end marker
            at = max(content.rfind(_EOC, at, end), at + 12)
            break
        if length < 12:
            raise corrupt("a tile part is shorter than its header")
        at += length
    if at + 2 > end or content[at : at + 2] != _EOC:
        raise truncated("the end is missing")
    if len(parts) < tiles or any(missing > 0 for missing in parts.values()):
        raise truncated("tiles are missing")


_SOT, _SIZ, _EOC = b"\xff\x90", b"\xff\x51", b"\xff\xd9"


def _count_tiles(content: bytes, at: int) -> int:
    """Return the number of tiles that the SIZ marker announces."""
    if at + 38 > len(content):
        raise truncated("the header is missing")
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", content, at + 6)
    if not (width and height):
        raise corrupt("tiles without size")
    return int(-(-(right - left) // width) * -(-(bottom - top) // height))
