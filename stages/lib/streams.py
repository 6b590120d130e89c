"""What the bytes of a file tell without decoding: its end, its checksums, its format.

Pillow reads no further than the pixels it needs: it passes a PNG without its end or with a wrong
checksum, and an animation that breaks off after its first frame. These checks find them.
"""

import struct
import zlib
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"


def ends_early(content: bytes) -> bool:
    """Return whether the end that the format asks for is missing."""
    if content[:3] == b"\xff\xd8\xff":
        return b"\xff\xd9" not in content  # a thumbnail has one too: decoding strictly finds those
    if content[:8] == _PNG:
        return not any(kind == b"IEND" for kind, _, _ in _png_chunks(content))
    if content[:6] in {b"GIF87a", b"GIF89a"}:
        return not _gif_ends(content)
    if content[:4] == b"RIFF" and len(content) >= 8:
        return len(content) < 8 + int(struct.unpack_from("<I", content, 4)[0])
    if content[:4] in {b"II*\0", b"MM\0*"} and len(content) >= 8:
        return not _tiff_is_whole(content)
    return False


def check(content: bytes) -> None:
    """Compare the checksums of a PNG's critical chunks. Raises ValueError on a wrong one."""
    if content[:8] == _PNG:
        for kind, body, checksum in _png_chunks(content):
            if kind[:1].isupper() and zlib.crc32(body, zlib.crc32(kind)) != checksum:
                raise ValueError(f"wrong checksum in the PNG chunk {kind.decode('latin-1')}")


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield (type, data, checksum) of each whole chunk, up to the end of the picture."""
    view, at = memoryview(content), len(_PNG)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if at + 12 + length > len(content):
            return
        yield (
            kind,
            view[at + 8 : at + 8 + length],
            struct.unpack_from(">I", content, at + 8 + length)[0],
        )
        if kind == b"IEND":
            return
        at += 12 + length


def _gif_ends(content: bytes) -> bool:
    """Walk the blocks of a GIF (GIF89a specification) and return whether a trailer ends them."""
    try:
        at = 13 + _colour_table(content[10])
        while content[at] != 0x3B:
            if content[at] == 0x21:  # an extension: its label, then data
                at += 2
            elif content[at] == 0x2C:  # an image: its descriptor, colours, code size, then data
                at += 11 + _colour_table(content[at + 9])
            else:
                return True  # rubbish between blocks, as some writers leave: decoding judges
            while content[at]:
                at += 1 + content[at]
            at += 1
    except IndexError:
        return False
    return True


def _tiff_is_whole(content: bytes) -> bool:
    """Return whether all that the directories of a TIFF point to lies in the file (TIFF 6.0)."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        at, seen = int(struct.unpack_from(f"{order}I", content, 4)[0]), set[int]()
        while at and at not in seen:
            seen.add(at)
            (entries,) = struct.unpack_from(f"{order}H", content, at)
            tags = dict(
                _tiff_tag(content, order, at + 2 + 12 * number) for number in range(entries)
            )
            for offsets, sizes in ((273, 279), (324, 325)):  # of the strips, of the tiles
                for start, size in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False):
                    if start + size > len(content):
                        return False
            end = at + 2 + 12 * entries
            (at,) = struct.unpack_from(f"{order}I", content, end)
    except struct.error:  # beyond the end
        return False
    return True


def _tiff_tag(content: bytes, order: str, at: int) -> tuple[int, tuple[int, ...]]:
    """Return (tag, values) of one entry, the values of whole numbers alone. Raises struct.error."""
    tag, kind, count = struct.unpack_from(f"{order}HHI", content, at)
    width, code = _TIFF_TYPES.get(kind, (0, ""))
    start = at + 8
    if width * count > 4:
        (start,) = struct.unpack_from(f"{order}I", content, start)
        if start + width * count > len(content):
            raise struct.error("a value lies beyond the end")
    return tag, struct.unpack_from(f"{order}{count}{code}", content, start) if code else ()


_TIFF_TYPES = {
    1: (1, ""), 2: (1, ""), 3: (2, "H"), 4: (4, "I"), 5: (8, ""), 6: (1, ""), 7: (1, ""),
    8: (2, ""), 9: (4, ""), 10: (8, ""), 11: (4, ""), 12: (8, ""),
}  # fmt: skip


def _colour_table(packed: int) -> int:
    """Return the bytes of the colour table that the flags of a GIF announce."""
    return 3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0


def foreign_format(content: bytes) -> str | None:
    """Return the name of an image format that we know and do not decode; None for no image."""
    for offset, magic, name in _FOREIGN:
        if content[offset : offset + len(magic)] == magic:
            return name
    return "SVG" if b"<svg" in content[:1024] else None


_FOREIGN = (
    (4, b"ftypavif", "AVIF"), (4, b"ftypavis", "AVIF"), (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"), (4, b"ftypmif1", "HEIF"), (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"), (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"), (0, b"\0\0\x01\0", "ICO"), (0, b"8BPS", "PSD"),
    (0, b"#?RADIANCE", "Radiance HDR"), (0, b"#?RGBE", "Radiance HDR"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"), (0, b"%!PS", "PostScript"),
    (0, b"Pf", "PFM"), (0, b"PF", "PFM"),
)  # fmt: skip
