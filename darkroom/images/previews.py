"""A small picture of every image, as clean decoded it; most later stages look at nothing else.

Upright RGB in sRGB with a short side of `SIDE_PX`, more than networks for vectors read (224), as
JPEG in `data/previews/<shard>.tar`, one shard per raw shard. An image that is no larger is not
copied, unless it is a deep grey: its picture is the original. Where a preview lies stands in
`data/clean/parts`.

JPEG of quality 90 without subsampled colours, by measurement (`python -m benchmarks.previews`):
WebP takes twenty times as long to write, PNG six times the space. Previews are our own, and clean
has decoded the small originals under its limits: reading either needs no guard.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import simplejpeg

from darkroom.core import shards, tables
from darkroom.images.decode import DecodeError, Pixels, decode
from darkroom.images.resize import resize

VERSION = "2"  # raise when the same bytes give another preview, as when they decode otherwise

SIDE_PX = 256
QUALITY, SUBSAMPLING = 90, "444"
MAX_LONG_SIDE_PX = 65_500  # libjpeg's limit; a strip longer than this is read in raw

RAW, PREVIEWS, PARTS = Path("data/raw"), Path("data/previews"), Path("data/clean/parts")


class Place(NamedTuple):
    """Where the picture of one key lies: its preview, or its original where that is small."""

    folder: str  # below the root
    shard: str
    offset: int
    size: int

    @property
    def location(self) -> shards.Location:
        """Return where the bytes lie, below the root."""
        return shards.Location(f"{self.folder}/{self.shard}", self.offset, self.size)


def encode_preview(pixels: Pixels, width: int, height: int, deep: bool = False) -> bytes | None:
    """Return the preview of an image of this size, None where its original is read instead.

    `pixels` show it upright, at any size with a short side of `SIDE_PX` or more. A `deep` grey has
    one at any size: nobody else then needs to know over which range its set is shown.
    """
    short, long = min(width, height), max(width, height)
    scale = min(1.0, SIDE_PX / short)
    if (short <= SIDE_PX and not deep) or long * scale > MAX_LONG_SIDE_PX:
        return None
    small = resize(pixels, round(width * scale), round(height * scale))
    return bytes(simplejpeg.encode_jpeg(small, QUALITY, "RGB", SUBSAMPLING))


def read_picture(root: Path, place: Place, grey: bool = False) -> Pixels:
    """Return the picture that lies at `place`, (height, width, 3), or its `grey` (height, width).

    Raises DecodeError where its bytes are damaged.
    """
    return decode_picture(shards.read_member(root, place.location), place.folder, grey)


def decode_picture(content: bytes, folder: str, grey: bool = False) -> Pixels:
    """Return the picture of bytes that lie in this folder of a Place, as `read_picture` does."""
    if folder != str(PREVIEWS):
        pixels = decode(content)  # clean has looked at its size
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8) if grey else pixels
    try:
        pixels = simplejpeg.decode_jpeg(content, "GRAY" if grey else "RGB")
    except ValueError as error:
        raise DecodeError("corrupt", str(error)) from error
    return np.asarray(pixels[:, :, 0] if grey else pixels, np.uint8)


def locate(root: Path) -> pd.DataFrame:
    """Return the Place of each key that decodes: `folder`, `shard`, `offset`, `size`, by `key`."""
    columns = ["key", "shard", "offset", "size"]
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", columns=columns))
    parts = tables.read_parts(root / PARTS, ["key", "fault", "preview_offset", "preview_size"])
    rows = stored.merge(parts[parts["fault"].isna()], on="key")
    own = rows["preview_size"].notna()
    return pd.DataFrame(
        {
            "folder": np.where(own, str(PREVIEWS), str(RAW)),
            "shard": rows["shard"].to_numpy(),
            "offset": rows["preview_offset"].where(own, rows["offset"]).to_numpy(np.int64),
            "size": rows["preview_size"].where(own, rows["size"]).to_numpy(np.int64),
        },
        index=pd.Index(rows["key"], name="key"),
    )


class Previews:
    """The pictures of a project by key; a task for another process takes a Place along."""

    def __init__(self, root: Path, places: pd.DataFrame | None = None) -> None:
        """Note where each picture lies; nothing is decoded yet. `places` are those of `locate`."""
        self.root, self.places = root, locate(root) if places is None else places

    def place(self, key: str) -> Place | None:
        """Return where the picture of a key lies, None for one that does not decode."""
        if key not in self.places.index:
            return None
        folder, shard, offset, size = self.places.loc[key]
        return Place(str(folder), str(shard), int(offset), int(size))

    def read(self, key: str) -> Pixels:
        """Return the picture of a key. Raises DecodeError where there is none."""
        place = self.place(key)
        if place is None:
            raise DecodeError("corrupt", f"{key} has no picture: clean could not decode it")
        return read_picture(self.root, place)
