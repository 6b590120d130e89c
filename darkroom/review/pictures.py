"""Pictures for the page. clean has decoded each under its limits: a process of its own is no need.

The list shows previews. Only who asks for a picture at large is shown the original, since there
every pixel may count.
"""

from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.images.decode import DecodeError
from darkroom.images.previews import Place, read_picture
from darkroom.images.resize import encode_jpeg, shrink

SMALL_PX, LARGE_PX = 360, 1600  # long side: twice what the page shows, for dense screens
QUALITY = 84


def draw(root: Path, place: Place, side_px: int) -> bytes | None:
    """Return what lies at `place` as a JPEG of at most this side, None where it is broken."""
    try:
        picture = read_picture(root, place)
    except (DecodeError, OSError, UserError):
        return None
    return encode_jpeg(shrink(picture, side_px), QUALITY)
