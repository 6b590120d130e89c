"""The blocks of a GIF (GIF89a specification), and whether its first picture has every pixel.

Pillow fills what a stream of codes does not reach with one colour, and says nothing.
"""

import struct

from PIL import Image

from darkroom.images.errors import corrupt, truncated
from darkroom.images.integrity.picture import Picture

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def picture(content: bytes) -> Picture:
    """Return the first picture as a GIF of its own. Raises DecodeError."""
    blocks = _Blocks(content)
    while (kind := blocks.next_kind()) == _EXTENSION:
        blocks.skip()
    if kind is None:
        raise truncated("the end is missing")
    if kind != _IMAGE:
        raise corrupt("there is no picture")
    start = blocks.at
    blocks.skip()
    end = blocks.at
    _require_all_pixels(content, start, end)
    while blocks.next_kind() in {_EXTENSION, _IMAGE}:
        blocks.skip()
    return Picture(content[:end] + b"\0;", blocks.is_odd or blocks.next_kind() != _TRAILER)


def colour_table(packed: int) -> int:
    """Return the bytes of the colour table that the flags of a GIF announce."""
    return 3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0


def first_frame(content: bytes) -> int:
    """Return where the descriptor of the first frame begins. Raises IndexError."""
    blocks = _Blocks(content)
    while (kind := blocks.next_kind()) == _EXTENSION:
        blocks.skip()
    if kind != _IMAGE:
        raise IndexError("no frame")
    return blocks.at


class _Blocks:
    """The blocks one after the other; `is_odd` once something that is none stood between."""

    def __init__(self, content: bytes) -> None:
        self.content, self.is_odd = content, False
        self.at = 13 + colour_table(content[10]) if len(content) > 13 else len(content)

    def next_kind(self) -> int | None:
        """Return the kind of the next block, None at the end of the file."""
        kinds = {_EXTENSION, _IMAGE, _TRAILER}
        while self.at < len(self.content) and self.content[self.at] not in kinds:
            self.at += 1
            self.is_odd = True
        return self.content[self.at] if self.at < len(self.content) else None

    def skip(self) -> None:
        """Go behind the block, or to the end of the file where that is missing."""
        content = self.content
        try:
            if content[self.at] == _EXTENSION:
                at = self.at + 2  # its label
            else:  # its place, its colours and the size of its codes
                at = self.at + 11 + colour_table(content[self.at + 9])
            while content[at]:
                at += 1 + content[at]
            self.at = at + 1
        except IndexError:
            self.at, self.is_odd = len(content), True


def _require_all_pixels(content: bytes, start: int, end: int) -> None:
    """Decode over one colour and another: a pixel that stays was never written.

    Raises DecodeError.
    """
    if start + 11 > len(content):
        raise truncated("the end is missing")
    width, height, packed = struct.unpack_from("<HHB", content, start + 5)
    data = start + 10 + colour_table(packed)
    if not (width and height):
        raise corrupt("a picture without size")
    if data >= end or not 1 <= content[data] <= 12:
        raise truncated("there are no codes")
    interlaced = packed & 0x40
    last_row = height - 1 if not interlaced or height == 1 else (height - 2) | 1  # to be written
    for colour in (0, 255):
        image = Image.new("L", (width, height), colour)
        decoder = Image._getdecoder("L", "gif", (content[data], interlaced, -1))
        decoder.setimage(image.im, (0, 0, width, height))
        _, error = decoder.decode(content[data + 1 : end])
        if error < 0:
            raise corrupt("codes that do not exist")
        if image.getpixel((width - 1, last_row)) != colour:
            return
    raise truncated("the codes end before the last pixel")
