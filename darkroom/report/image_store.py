"""Images of `data/raw` and `data/augmented` by key, and small JPEGs of them for the page."""

import base64
from pathlib import Path

import pandas as pd

from darkroom.core.shards import Location, read_member, stored
from darkroom.images.decode import DecodeError, Pixels, decode, decode_at_least
from darkroom.images.resize import encode_jpeg, shrink

SIDE_PX, QUALITY = 144, 80  # of a thumbnail: about 5 KB each, the page stays below 3 MB
SMALL_SIDE_PX, SMALL_QUALITY = 88, 72  # about 2 KB each, where there are many


class ImageStore:
    """The images of a folder of shards."""

    def __init__(self, folder: Path, index: pd.DataFrame) -> None:
        """Note where each key lies; nothing is read yet."""
        self.folder = folder
        self._locations = stored(index).set_index("key")

    def pixels(self, key: str, min_side: int | None = None) -> Pixels | None:
        """Return a picture, None if it is not stored or does not decode.

        `min_side` is that of `decode_at_least`, for images that clean has found whole.
        """
        if key not in self._locations.index:
            return None
        row = self._locations.loc[key]
        location = Location(str(row["shard"]), int(row["offset"]), int(row["size"]))
        content = read_member(self.folder, location)
        try:
            return decode_at_least(content, min_side) if min_side else decode(content)
        except DecodeError:
            return None

    def thumbnail(self, key: str) -> str | None:
        """Return a small JPEG as data: URI, None where there are no pixels."""
        pixels = self.pixels(key)
        return None if pixels is None else data_uri(shrink(pixels, SIDE_PX))

    def small_thumbnail(self, key: str) -> str | None:
        """Return a thumbnail of half the size, of an image that clean has found whole."""
        pixels = self.pixels(key, SMALL_SIDE_PX)
        return None if pixels is None else data_uri(shrink(pixels, SMALL_SIDE_PX), SMALL_QUALITY)


def data_uri(pixels: Pixels, quality: int = QUALITY) -> str:
    """Return pixels as JPEG in a data: URI."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(pixels, quality)).decode()
