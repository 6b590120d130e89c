"""The stream of a TIFF (TIFF 6.0, BigTIFF): whether all that its first page points to is there.

libtiff also passes some broken strips with a message that Pillow does not see: those of JPEG,
Deflate and the fax codes are read strictly here, and rare compressions of that kind are refused.
"""

import struct
import zlib
from collections.abc import Iterator

import simplejpeg

from darkroom.images.errors import DecodeError, corrupt, truncated
from darkroom.images.integrity import libtiff
from darkroom.images.integrity.picture import Picture

_SLACK = 2**20  # bytes inflated at a time, and what padded tiles may take more
MAX_DIRECTORIES = 100_000  # pages; overlapping ones would otherwise take for ever

Tags = dict[int, tuple[int, ...]]

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _ROWS, _PLANAR = (
    254, 256, 257, 258, 259, 277, 278, 284,
)  # fmt: skip
_TILE_WIDTH, _TILE_HEIGHT, _TABLES, _DNG = 322, 323, 347, 50706
_STRIPS, _TILES, _OLD_JPEG = (273, 279), (324, 325), (513, 514)
_WANTED = {
    _SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _ROWS, _PLANAR, _TILE_WIDTH,
    _TILE_HEIGHT, *_STRIPS, *_TILES, *_OLD_JPEG,
}  # fmt: skip
# Words about the picture, its resolution, and what programs attach, except the colour profile.
_BESIDE = {269, 270, 271, 272, 282, 283, 285, 305, 306, 315, 316, 700, *range(32768, 65536)}
_BESIDE -= {34675}
_LOST = -1  # stands among the tags of a page for the entries of these that lie beyond the end
_FAX, _DEFLATE, _JPEG, _LZMA = {2, 3, 4, 32771}, {8, 32946}, 7, 34925
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


def picture(content: bytes) -> Picture:
    """Require a first page that is the picture, and all of it. Raises DecodeError.

    What later pages lack is only noted.
    """
    layout = _Layout(content)
    pages = _directories(content, layout)
    try:
        first = next(pages, None)
    except struct.error as error:
        raise truncated("the directory lies beyond the end") from error
    if first is None:
        raise corrupt("there is no page")
    _check_first(content, first)
    is_odd = not _are_whole(content, pages)
    if _LOST in first:  # Pillow reads no tag behind such a one: let them hold nothing
        emptied = bytearray(content)
        for at in first[_LOST]:
            struct.pack_into(layout.order + layout.offset, emptied, at + 4, 0)
        return Picture(bytes(emptied), is_odd=True)
    return Picture(content, is_odd)


def _check_first(content: bytes, tags: Tags) -> None:
    """Refuse what libtiff does not decode strictly, and camera files that begin with a preview."""
    if not _lies_inside(content, tags):
        raise truncated("the picture ends beyond the file")
    if tags.get(_COMPRESSION) == (_LZMA,):
        raise DecodeError("unsupported_format", "TIFF with LZMA compression")
    reduced = tags.get(_SUBFILE, (0,))[:1] == (1,)
    if reduced or _DNG in tags or content[8:10] == b"CR":
        raise DecodeError("unsupported_format", "camera raw: the first page is a preview")


def _are_whole(content: bytes, pages: Iterator[Tags]) -> bool:
    try:
        return all(_lies_inside(content, tags) for tags in pages)
    except (struct.error, DecodeError):
        return False


def _lies_inside(content: bytes, tags: Tags) -> bool:
    return all(start + size <= len(content) for start, size in _places(tags))


def _places(tags: Tags) -> Iterator[tuple[int, int]]:
    """Yield where the data of a page lies, and how much there is."""
    for offsets, sizes in (_STRIPS, _TILES, _OLD_JPEG):
        yield from zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False)


def check_data(content: bytes) -> None:
    """Read again, strictly, what libtiff lets pass in the first page. Raises DecodeError."""
    layout = _Layout(content)
    tags = next(_directories(content, layout))
    _check_number(tags)
    compression = tags.get(_COMPRESSION, (1,))[0]
    if compression in _FAX:
        libtiff.require_silence(content)
    elif compression in _DEFLATE:
        _check_sums(content, tags)
    elif compression == _JPEG:
        _check_jpeg(content, tags, _tables_of(content, layout))


def _check_number(tags: Tags) -> None:
    """Require as many strips or tiles as the picture takes."""
    width, height, planar, samples = (
        tags.get(tag, (1,))[0] for tag in (_WIDTH, _HEIGHT, _PLANAR, _SAMPLES)
    )
    if _TILES[0] in tags:
        across, down = (tags.get(tag, (1,))[0] or 1 for tag in (_TILE_WIDTH, _TILE_HEIGHT))
        parts, found = -(-width // across) * -(-height // down), len(tags[_TILES[0]])
    else:
        parts, found = (
            -(-height // (tags.get(_ROWS, (height,))[0] or 1)),
            len(tags.get(_STRIPS[0], ())),
        )
    if found < parts * (samples if planar == 2 else 1) and not tags.get(_OLD_JPEG[0]):
        raise truncated("strips are missing")


def _check_sums(content: bytes, tags: Tags) -> None:
    """Inflate every strip, as far as the picture needs it, for the checksum at its end."""
    width, height, samples = (tags.get(tag, (1,))[0] for tag in (_WIDTH, _HEIGHT, _SAMPLES))
    across, down = (max((1, *tags.get(tag, ()))) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    pixels = -(-width // across) * across * -(-height // down) * down
    left = 2 * pixels * samples * max(tags.get(_BITS, (1,))) // 8 + _SLACK
    for start, size in _places(tags):
        stream, waiting = zlib.decompressobj(), content[start : start + size]
        try:
            while waiting and left > 0:
                left -= len(stream.decompress(waiting, _SLACK))
                waiting = stream.unconsumed_tail
        except zlib.error as error:
            raise corrupt(str(error)) from error
        if not stream.eof:
            raise truncated("a strip does not end")


def _check_jpeg(content: bytes, tags: Tags, tables: bytes) -> None:
    for start, size in _places(tags):
        strip = content[start : start + size]
        stream = tables[:-2] + strip[2:] if tables else strip  # one without end, one start
        try:
            simplejpeg.decode_jpeg(
                stream, colorspace="GRAY", min_height=1, min_width=1, strict=True
            )
        except ValueError as error:
            raise corrupt(str(error)) from error


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
        try:
            kind, start, count = _place(content, layout, at)
        except struct.error:
            if tag not in _BESIDE:
                raise
            tags[_LOST] = (*tags.get(_LOST, ()), at)
            continue
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
