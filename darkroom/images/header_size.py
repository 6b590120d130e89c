"""The size that a header announces, for formats whose plugin reserves memory before it tells."""

import struct

from darkroom.images.integrity import boxes, gif, png


def announced_size(kind: str, content: bytes) -> tuple[int, int]:
    """Return (width, height), (0, 0) where another format or a broken header tells none."""
    read = {
        "GIF": _gif, "WEBP": _webp, "AVIF": boxes.largest_picture, "HEIF": boxes.largest_picture,
        "PNG": png.size, "JPEG2000": boxes.grid_size,
    }.get(kind)  # fmt: skip
    try:
        return read(content) if read else (0, 0)
    except (struct.error, IndexError):
        return 0, 0


def _gif(content: bytes) -> tuple[int, int]:
    """Return the screen, widened to hold the first frame as Pillow does."""
    width, height = struct.unpack_from("<HH", content, 6)
    left, top, across, down = struct.unpack_from("<4H", content, gif.first_frame(content) + 1)
    return max(width, left + across), max(height, top + down)


def _webp(content: bytes) -> tuple[int, int]:
    """Return the size of the canvas or of the only picture (RFC 9649, sections 2.5 to 2.7, 3.4)."""
    if content[12:16] == b"VP8X":
        wide, high = content[24:27] + b"\0", content[27:30] + b"\0"
        return 1 + struct.unpack("<I", wide)[0], 1 + struct.unpack("<I", high)[0]
    if content[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF
