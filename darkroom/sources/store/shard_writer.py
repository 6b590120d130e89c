"""Writing the bytes of each key once, to shards that never change.

A shard is written as soon as it is full, to the staging folder, where a killed run leaves it to the
next; `publish` brings the staged ones to the others. Image bytes are held for one shard at most.
"""

import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from darkroom.core import shards
from darkroom.core.files import unfinished
from darkroom.core.shards import Location, read_locations, read_member
from darkroom.images.formats import sniff_extension


class ShardWriter:
    """Takes in bytes by key, and knows the location of each."""

    def __init__(self, folder: Path, staging: Path | None, known: dict[str, Location]) -> None:
        """Start from the locations that the index of `folder` names, and what lies staged.

        Without a staging folder new shards are published at once.
        """
        self.folder, self.staging = folder, staging or folder
        present = {path.name for path in folder.glob("*.tar")}
        self.locations = {
            key: location for key, location in known.items() if location.shard in present
        }
        self._next = 1 + max(
            (int(location.shard[:5]) for location in self.locations.values()), default=-1
        )
        self._batch: dict[str, bytes] = {}
        self._bytes = 0
        self._adopted: dict[str, list[str]] = {}  # the keys by staged shard of a killed run
        if staging is not None:
            self._adopt(staging)
        self.total_bytes = sum(location.size for location in self.locations.values())
        self.written = 0  # shards so far

    def __contains__(self, key: object) -> bool:
        """Return whether the bytes of this key are here."""
        return key in self.locations or key in self._batch

    def is_written(self, key: str | None) -> bool:
        """Return whether nothing more is needed for this key."""
        return key not in self._batch

    def put(self, key: str, content: bytes) -> None:
        """Take in new bytes."""
        full = len(self._batch) >= shards.MAX_IMAGES
        if full or (self._batch and self._bytes + len(content) > shards.MAX_BYTES):
            self.flush()
        self._batch[key] = content
        self._bytes += len(content)
        self.total_bytes += len(content)

    def flush(self) -> None:
        """Write what waits, as a shard."""
        if self._batch:
            self._write(list(self._batch), self._batch.values())
            self._batch, self._bytes = {}, 0

    def leave_out(self, unwanted: Callable[[str], bool], purged: Collection[str]) -> None:
        """Write again, without them, the shards of purged keys and staged ones of unwanted keys."""
        affected = {location.shard for key, location in self.locations.items() if key in purged}
        for shard, keys in self._adopted.items():
            if any(unwanted(key) or self.locations[key].shard != shard for key in keys):
                affected.add(shard)
        for shard in sorted(affected):
            inside = sorted((location, key) for key, location in self.locations.items()
                            if location.shard == shard)  # fmt: skip
            gone = {key for _, key in inside
                    if key in purged or (shard in self._adopted and unwanted(key))}  # fmt: skip
            staying = [(location, key) for location, key in inside if key not in gone]
            for key in gone:
                del self.locations[key]
            if staying:
                contents = (self._read(location) for location, _ in staying)
                self._write([key for _, key in staying], contents)

    def publish(self) -> None:
        """Bring the staged shards that hold something to the others; they also stay staged."""
        if self.staging == self.folder:
            return
        for name in sorted({location.shard for location in self.locations.values()}):
            staged, target = self.staging / name, self.folder / name
            if staged.exists() and not (target.exists() and target.samefile(staged)):
                temporary = unfinished(target)
                temporary.unlink(missing_ok=True)
                try:
                    os.link(staged, temporary)
                except OSError:  # another disk, or one that knows no links
                    with staged.open("rb") as reading, temporary.open("wb") as writing:
                        shutil.copyfileobj(reading, writing)
                        writing.flush()
                        os.fsync(writing.fileno())
                temporary.replace(target)

    def _adopt(self, staging: Path) -> None:
        """Resume from the shards that a killed run has staged."""
        for path in sorted(staging.glob("[0-9]*.tar")):
            try:
                members = read_locations(path)
            except tarfile.ReadError:  # not as it was written: its images are taken in again
                path.unlink()
                continue
            if all(key in self.locations for key, _ in members):
                path.unlink()  # published, or written twice
                continue
            name = self._free_name(path)
            path.rename(staging / name)
            self._adopted[name] = [key for key, _ in members]
            for key, location in members:
                self.locations.setdefault(key, location._replace(shard=name))
            self._next += 1

    def _free_name(self, path: Path) -> str:
        """Return the next name: its own, unless other shards came in between, and no other's."""
        while (name := shards.shard_name(self._next)) != path.name and (
            path.with_name(name).exists()
        ):
            self._next += 1
        return name

    def _read(self, location: Location) -> bytes:
        staged = (self.staging / location.shard).exists()
        return read_member(self.staging if staged else self.folder, location)

    def _write(self, keys: list[str], contents: Iterable[bytes]) -> None:
        path = self.staging / shards.shard_name(self._next)
        pairs = zip(keys, contents, strict=True)
        locations = shards.write_shard(path, ((f"{k}.{sniff_extension(c)}", c) for k, c in pairs))
        self.locations.update(zip(keys, locations, strict=True))
        self._next += 1
        self.written += 1
