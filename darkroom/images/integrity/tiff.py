"""The stream of a TIFF (TIFF 6.0, BigTIFF): whether all that its directories point to is there.

libtiff also passes some broken strips with a warning that Pillow does not see: those of JPEG are
decoded strictly here, and rare compressions of that kind are refused.
"""

import struct
from collections.abc import Iterator

import simplejpeg

from darkroom.images.errors import DecodeError, corrupt, truncated

MAX_DIRECTORIES = 100_000  # pages; overlapping ones would otherwise take for ever

Tags = dict[int, tuple[int, ...]]

_SUBFILE, _COMPRESSION, _TABLES, _DNG = 254, 259, 347, 50706
_STRIPS, _TILES, _OLD_JPEG = (273, 279), (324, 325), (513, 514)
_WANTED = {_SUBFILE, _COMPRESSION, *_STRIPS, *_TILES, *_OLD_JPEG}
_JPEG, _LZMA = 7, 34925
_CODES = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # of the types of whole numbers
_WIDTHS = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip


class _Layout:
    """How numbers are written: byte order, and 4 or 8 bytes for an offset."""

    def __init__(self, content: bytes) -> None:
        self.order = "<" if content[:2] == b"II" else ">"
        self.big = 43 in content[2:4]
        self.offset = "Q" if self.big else "I"
        self.count = "Q" if self.big else "H"
        self.entry_bytes = 20 if self.big else 12

    def number(self, code: str, content: bytes, at: int) -> int:
        """Return one number. Raises struct.error beyond the end."""
        return int(struct.unpack_from(self.order + code, content, at)[0])


def check(content: bytes) -> None:
    """Require every page's data and a first page that is the picture. Raises DecodeError."""
    layout = _Layout(content)
    try:
        for number, tags in enumerate(_directories(content, layout)):
            if number == 0:
                _check_first(content, tags)
            for offsets, sizes in (_STRIPS, _TILES, _OLD_JPEG):
                for start, size in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False):
                    if start + size > len(content):
                        raise truncated(f"page {number + 1} lies beyond the end")
    except struct.error as error:
        raise truncated("a directory lies beyond the end") from error


def check_strips(content: bytes) -> None:
    """Decode JPEG strips of the first page strictly. Raises DecodeError on a broken stream."""
    layout = _Layout(content)
    tags = next(_directories(content, layout))
    if tags.get(_COMPRESSION) != (_JPEG,):
        return
    tables = _tables_of(content, layout)
    for offsets, sizes in (_STRIPS, _TILES):
        for start, size in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False):
            strip = content[start : start + size]
            stream = tables[:-2] + strip[2:] if tables else strip  # one without end, one start
            try:
                simplejpeg.decode_jpeg(
                    stream, colorspace="GRAY", min_height=1, min_width=1, strict=True
                )
            except ValueError as error:
                raise corrupt(str(error)) from error


def _check_first(content: bytes, tags: Tags) -> None:
    """Refuse what libtiff does not decode strictly, and camera files that begin with a preview."""
    if tags.get(_COMPRESSION) == (_LZMA,):
        raise DecodeError("unsupported_format", "TIFF with LZMA compression")
    reduced = tags.get(_SUBFILE, (0,))[:1] == (1,)
    if reduced or _DNG in tags or content[8:10] == b"CR":
        raise DecodeError("unsupported_format", "camera raw: the first page is a preview")


def _directories(content: bytes, layout: _Layout) -> Iterator[Tags]:
    """Yield the wanted tags of each page, in the order in which pages are linked."""
    at, seen = layout.number(layout.offset, content, 8 if layout.big else 4), set[int]()
    while at and at not in seen:
        seen.add(at)
        if len(seen) > MAX_DIRECTORIES:
            raise corrupt(f"more than {MAX_DIRECTORIES} pages")
        entries = layout.number(layout.count, content, at)
        first = at + struct.calcsize(layout.order + layout.count)
        end = first + layout.entry_bytes * entries
        if end > len(content):
            raise struct.error("a directory lies beyond the end")
        yield _tags(content, layout, range(first, end, layout.entry_bytes))
        at = layout.number(layout.offset, content, end)


def _tags(content: bytes, layout: _Layout, entries: range) -> Tags:
    """Return the tags of one directory, with the values of those that say where data lies."""
    tags: Tags = {}
    for at in entries:
        tag = layout.number("H", content, at)
        if tag in tags:  # the first of a tag counts; thousands could point to the same megabytes
            continue
        kind, start, count = _place(content, layout, at)
        code = _CODES.get(kind) if tag in _WANTED else None
        values = struct.unpack_from(f"{layout.order}{count}{code}", content, start) if code else ()
        tags[tag] = tuple(map(int, values))
    return tags


def _place(content: bytes, layout: _Layout, at: int) -> tuple[int, int, int]:
    """Return (type, offset, count) of an entry's values. Raises struct.error beyond the end."""
    kind = layout.number("H", content, at + 2)
    count = layout.number(layout.offset, content, at + 4)
    start = at + layout.entry_bytes - struct.calcsize(layout.order + layout.offset)
    width = _WIDTHS.get(kind, 0)
    if width * count > struct.calcsize(layout.order + layout.offset):
        start = layout.number(layout.offset, content, start)
        if start + width * count > len(content):
            raise struct.error("a value lies beyond the end")
    return kind, start, count


def _tables_of(content: bytes, layout: _Layout) -> bytes:
    """Return the tables that all JPEG strips of the first page share."""
    first = layout.number(layout.offset, content, 8 if layout.big else 4)
    entries = layout.number(layout.count, content, first)
    first += struct.calcsize(layout.order + layout.count)
    for at in range(first, first + layout.entry_bytes * entries, layout.entry_bytes):
        if layout.number("H", content, at) == _TABLES:
            _, start, count = _place(content, layout, at)
            return content[start : start + count]
    return b""
