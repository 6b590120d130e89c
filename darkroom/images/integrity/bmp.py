"""The run lengths of a BMP: Pillow asks for every row, but cuts what reaches beyond one."""

import struct

from darkroom.images.errors import corrupt
from darkroom.images.integrity.picture import Picture

_RLE8, _RLE4 = 1, 2
_END_OF_ROW, _END, _DELTA = 0, 1, 2


def picture(content: bytes) -> Picture:
    """Require runs that stay in their rows. Raises DecodeError."""
    if len(content) >= 34 and struct.unpack_from("<I", content, 14)[0] >= 40:
        start, width, compression = (
            struct.unpack_from("<I", content, at)[0] for at in (10, 18, 30)
        )
        if compression in {_RLE8, _RLE4}:
            _check_runs(memoryview(content)[start:], width, 2 if compression == _RLE4 else 1)
    return Picture(content)


def _check_runs(data: memoryview, width: int, per_byte: int) -> None:
    at = column = 0
    while at + 2 <= len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            column += count
        elif value == _END_OF_ROW:
            column = 0
        elif value == _END:
            return
        elif value == _DELTA:
            column += data[at] if at < len(data) else 0
            at += 2
        else:  # so many pixels as they are, padded to whole words
            column += value
            at += 2 * -(-value // (2 * per_byte))
        if column > width:
            raise corrupt("a run reaches beyond its row")
