"""Shards: WebDataset tar files of original bytes, read by offset, equal when their members are.

Member names are `<key>.<ext>`; the key is the first 32 hex digits of the sha256 of the bytes.
"""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.core.files import publish

MAX_IMAGES = 1000
MAX_BYTES = 256 * 2**20
_BLOCK = 512


class Location(NamedTuple):
    """Where the bytes of one member lie."""

    shard: str
    offset: int
    size: int


def key_of(content: bytes) -> str:
    """Return the key of these bytes: equal keys are exact duplicates."""
    return hashlib.sha256(content).hexdigest()[:32]


def shard_name(number: int) -> str:
    """Return the file name of the shard with this number, as `00000.tar`."""
    return f"{number:05d}.tar"


def write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> list[Location]:
    """Publish a shard of (name, bytes) and say where each lies; times, owners, modes are fixed."""
    locations = []
    with publish(path) as handle:
        for name, content in members:
            handle.write(_header(name, len(content)))
            locations.append(Location(path.name, handle.tell(), len(content)))
            handle.write(content)
            handle.write(b"\0" * (-len(content) % _BLOCK))
        handle.write(b"\0" * 2 * _BLOCK)
    return locations


def _header(name: str, size: int) -> bytes:
    """Return the ustar header of a member; its time, owner and mode are the defaults of tarfile.

    tarfile's own takes as long as hashing the image, and is left what is rare.
    """
    if not name.isascii() or len(name) > 100 or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.USTAR_FORMAT)
    sized = _HEADER[100:124] + b"%011o\0" % size + _HEADER[136:148]
    blank = name.encode().ljust(100, b"\0") + sized + b" " * 8 + _HEADER[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


_HEADER = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)


def read_member(folder: Path, location: Location) -> bytes:
    """Return the bytes at `location`. Raises UserError when the shard is shorter than that."""
    return next(read_members(folder, [location]))


def read_members(folder: Path, locations: Iterable[Location]) -> Iterator[bytes]:
    """Yield the bytes at each location, each shard opened once; as `read_member` otherwise."""
    with ExitStack() as stack:
        handles: dict[str, BinaryIO] = {}
        for shard, offset, size in locations:
            if shard not in handles:
                handles[shard] = stack.enter_context((folder / shard).open("rb"))
            handles[shard].seek(offset)
            content = handles[shard].read(size)
            if len(content) != size:
                raise UserError(
                    f"{folder / shard} is cut off: expected {size} bytes at {offset}, got"
                    f" {len(content)}; restore it with `dvc checkout`, or delete it and run"
                    " `dvc repro`"
                )
            yield content


def read_locations(path: Path) -> list[tuple[str, Location]]:
    """Return key and location of each member of a shard, in order, without reading their bytes."""
    with tarfile.open(path, "r:") as archive:
        return [
            (Path(info.name).stem, Location(path.name, info.offset_data, info.size))
            for info in archive
        ]


def require_locations(index: pd.DataFrame) -> pd.DataFrame:
    """Return the stored rows. Raises UserError where one has no location, or one elsewhere."""
    present = index[index["key"].notna() & index["shard"].notna()]
    named = present["shard"].drop_duplicates().str.fullmatch(r"\d{5,}\.tar")
    if not (named.all() and (present[["offset", "size"]] >= 0).all(axis=None)):
        raise UserError(
            "data/raw/index.parquet: expected a shard, an offset and a size for each key that is"
            " stored; restore it with `dvc checkout`, or delete it and run `dvc repro`"
        )
    return present


def stored(index: pd.DataFrame) -> pd.DataFrame:
    """Return one row (`key`, `shard`, `offset`, `size`) per stored key, by shard and offset.

    Members of withdrawn records are included: they still lie in their shard. Raises UserError for
    an index that was not written by `download`.
    """
    unique = require_locations(index).drop_duplicates("key")[["key", "shard", "offset", "size"]]
    unique = unique.astype({"offset": "int64", "size": "int64"})
    return unique.sort_values(["shard", "offset"], ignore_index=True)


def fingerprint(members: pd.DataFrame) -> str:
    """Return a digest over one shard; keys are content hashes, so this covers the bytes."""
    rows = zip(members["key"], members["offset"], members["size"], strict=True)
    text = "\n".join(f"{key} {offset} {size}" for key, offset, size in sorted(rows))
    return hashlib.sha256(text.encode()).hexdigest()
