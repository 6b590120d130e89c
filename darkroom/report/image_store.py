"""Pictures of images by key, and small JPEGs of them for the page."""

import base64

from darkroom.images.decode import DecodeError, Pixels
from darkroom.images.previews import Previews
from darkroom.images.resize import encode_jpeg, shrink

SIDE_PX, QUALITY = 144, 80  # of a thumbnail: about 5 KB each, the page stays below 3 MB
SMALL_SIDE_PX, SMALL_QUALITY = 88, 72  # about 2 KB each, where there are many


class ImageStore:
    """The pictures of a data set; a placeholder stands for what clean could not decode."""

    def __init__(self, pictures: Previews) -> None:
        """Take where they lie; nothing is read yet."""
        self._pictures = pictures

    def pixels(self, key: str) -> Pixels | None:
        """Return a picture, None if there is none or it does not decode."""
        try:
            return self._pictures.read(key)
        except DecodeError:
            return None

    def thumbnail(self, key: str) -> str | None:
        """Return a small JPEG as data: URI, None where there are no pixels."""
        pixels = self.pixels(key)
        return None if pixels is None else data_uri(shrink(pixels, SIDE_PX))

    def small_thumbnail(self, key: str) -> str | None:
        """Return a thumbnail of half the size."""
        pixels = self.pixels(key)
        return None if pixels is None else data_uri(shrink(pixels, SMALL_SIDE_PX), SMALL_QUALITY)


def data_uri(pixels: Pixels, quality: int = QUALITY) -> str:
    """Return pixels as JPEG in a data: URI."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(pixels, quality)).decode()
