"""The journal of an interrupted download: what it has fetched, safe against a kill at any moment.

In `.darkroom/download/`: `journal` says what became of each URL, one short line each, written after
the body; `bodies/` holds what waits for its shard, many to a file, since making a file costs more
than fetching an image; `parts/` what broke off, with the validator under which it is resumed;
`shards/` the shards that are full (see `shard_writer`). URLs, which may hold passwords, are known
by a digest here. Nothing is synced per image: the page cache outlives a killed process. After a
power cut a body that is not what the journal says counts as never fetched, and so do parts.
"""

import contextlib
import json
import os
import shutil
import tarfile
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from darkroom.core.files import naming, write_text
from darkroom.core.shards import Location, key_of, read_locations, read_member

SCRATCH = Path(".darkroom/download")
JOURNAL, BODIES, PARTS, SHARDS = "journal", "bodies", "parts", "shards"
FILE_BYTES = 2**25  # a file of bodies goes when all of them lie in shards


class Outcome(NamedTuple):
    """What became of a URL: a key, and the location of its body below `bodies/`; or a reason."""

    key: str | None
    reason: str | None = None
    location: Location | None = None

    def line(self, digest: str) -> str:
        """Return this as a line of the journal."""
        words = [f"!{self.reason}"] if self.key is None else [self.key, *(self.location or ())]
        return " ".join(map(str, [digest, *words, "."])) + "\n"


def _parse(line: str) -> tuple[str, Outcome] | None:
    match line.split(" "):
        case [digest, key, name, offset, size, "."] if offset.isdecimal() and size.isdecimal():
            return digest, Outcome(key, None, Location(name, int(offset), int(size)))
        case [digest, failed, "."] if failed.startswith("!"):
            return digest, Outcome(None, failed[1:])
    return None


class Journal:
    """The journal and the bodies of one download; `put` and `record` belong to one thread."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which need not exist yet."""
        self.folder, self.bodies = folder, folder / BODIES
        self._journal: int | None = None
        self._file: int | None = None
        self._name, self._end, self._number = "", 0, 0
        self._adopted = False
        self._lock = threading.Lock()
        self._live: Counter[str] = Counter()  # bodies that are still needed, by file

    def outcomes(self) -> dict[str, Outcome]:
        """Return by digest what the journal says; damaged lines are left out."""
        try:
            lines = (self.folder / JOURNAL).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        return dict(each for line in lines if (each := _parse(line)) is not None)

    def record(self, digest: str, outcome: Outcome) -> None:
        """Write down what became of a URL."""
        if self._journal is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._journal = os.open(self.folder / JOURNAL, flags, 0o644)
            os.write(self._journal, b"\n")  # ends a line that a power cut tore
        with naming(self.folder / JOURNAL):
            os.write(self._journal, outcome.line(digest).encode())

    def forget_failures(self) -> None:
        """Let everything that failed be tried again."""
        self.close()
        kept = {digest: each for digest, each in self.outcomes().items() if each.key is not None}
        if kept:
            text = "".join(outcome.line(digest) for digest, outcome in kept.items())
            write_text(self.folder / JOURNAL, text)
        else:
            (self.folder / JOURNAL).unlink(missing_ok=True)

    def adopt(self, needed: Iterable[Outcome]) -> None:
        """Start from what a stopped run left: keep these bodies, and drop what holds no other."""
        if self._adopted:
            return  # by another list of the same run
        self._adopted = True
        for outcome in needed:
            if outcome.location is not None:
                self._live[outcome.location.shard] += 1
        for path in self.bodies.glob("*"):
            if self._live[path.name] == 0:
                path.unlink()

    def holds(self, outcome: Outcome) -> bool:
        """Return whether the body is there, and what the journal says."""
        try:
            return key_of(self.read(outcome)) == outcome.key
        except (OSError, ValueError):
            return False

    def read(self, outcome: Outcome) -> bytes:
        """Return a body that waits here. Raises ValueError when there is none."""
        if outcome.location is None:
            raise ValueError(f"expected a body, got {outcome}")
        return read_member(self.bodies, outcome.location)

    def put(self, content: bytes) -> Location:
        """Keep a whole body; it counts from its line in the journal on."""
        descriptor, self._file = self._file, None  # not written to again if this goes wrong
        if descriptor is None or self._end + len(content) > FILE_BYTES:
            descriptor = self._next_file(descriptor)
        location = Location(self._name, self._end, len(content))
        with self._lock:
            self._live[self._name] += 1
        with naming(self.bodies / self._name):
            _write(descriptor, content)
        self._file, self._end = descriptor, self._end + len(content)
        return location

    def complete(self, digest: str, part: "PartialBody") -> Location:
        """Make a body of a part that is whole."""
        self.bodies.mkdir(parents=True, exist_ok=True)
        location = Location(digest, 0, part.size)
        with self._lock:
            self._live[digest] = 1
        part.path.replace(self.bodies / digest)
        part.drop()
        return location

    def drop(self, outcomes: Iterable[Outcome]) -> None:
        """Let go of bodies that lie in a shard by now."""
        with self._lock:
            for outcome in outcomes:
                if outcome.location is None:
                    continue
                name = outcome.location.shard
                self._live[name] -= 1
                if self._live[name] <= 0 and name != self._name:
                    del self._live[name]
                    (self.bodies / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; they open again when needed."""
        for descriptor in (self._journal, self._file):
            if descriptor is not None:
                os.close(descriptor)
        self._journal = self._file = None

    def clear(self) -> None:
        """Remove everything: it is published."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def part(self, digest: str) -> "PartialBody":
        """Return what is there of a body that broke off."""
        return PartialBody(self.folder / PARTS / digest)

    def _next_file(self, finished: int | None) -> int:
        """Begin a new file of bodies; one that a killed run began is never written to again."""
        self.bodies.mkdir(parents=True, exist_ok=True)
        if finished is not None:
            os.close(finished)
        while (path := self.bodies / f"{self._number:06d}").exists():
            self._number += 1
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with self._lock:
            before, self._name, self._end = self._name, path.name, 0
            if before and self._live[before] <= 0:
                del self._live[before]
                (self.bodies / before).unlink(missing_ok=True)
        self._number += 1
        return descriptor


class PartialBody:
    """The beginning of a body, and the validator under which the server would send the rest."""

    def __init__(self, path: Path) -> None:
        """Look for the part at `path`."""
        self.path = path
        self._note_path = path.with_name(f"{path.name}.json")
        self.validator: str | None = None
        self.total: int | None = None  # the size of the whole, if the server said so
        self.size = 0
        if not self._note_path.exists():
            return
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self._note_path.read_text())
            if note["boot"] == _boot():
                self.size = path.stat().st_size
                self.validator, self.total = str(note["validator"]), note["total"]

    def start(self, validator: str, total: int | None) -> None:
        """Begin again, empty; a part whose validator is empty is never resumed."""
        self.drop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        note = {"validator": validator, "total": total, "boot": _boot()}
        self._note_path.write_text(json.dumps(note))
        self.path.write_bytes(b"")
        self.validator, self.total = validator, total

    def append(self, content: bytes) -> None:
        """Add what was received."""
        with naming(self.path), self.path.open("ab", buffering=0) as handle:
            _write(handle.fileno(), content)
        self.size += len(content)

    def read(self) -> bytes:
        """Return what is there."""
        return self.path.read_bytes()

    def drop(self) -> None:
        """Remove it."""
        if self.validator is not None:
            self._note_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        self.validator, self.total, self.size = None, None, 0


@cache
def _boot() -> str:
    """Return what changes when the machine starts: what was not synced by then may be lost.

    Empty where Linux does not say it.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def remove_images(folder: Path, purged: Collection[str]) -> None:
    """Remove from an unfinished download what is, or may be, one of these images."""
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    by_file: dict[str, list[Outcome]] = {}
    for outcome in Journal(folder).outcomes().values():
        if outcome.location is not None:
            by_file.setdefault(outcome.location.shard, []).append(outcome)
    for path in (folder / BODIES).glob("*"):
        inside = by_file.get(path.name, [])
        size = sum(outcome.location.size for outcome in inside if outcome.location is not None)
        # What the journal does not name, since a kill came in between, may be such an image.
        if size != path.stat().st_size or any(outcome.key in purged for outcome in inside):
            path.unlink()
    for path in (folder / SHARDS).glob("*"):
        try:
            whole = not path.name.startswith(".unfinished-")
            keep = whole and all(key not in purged for key, _ in read_locations(path))
        except tarfile.ReadError:
            keep = False
        if not keep:
            path.unlink()


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while len(view):
        view = view[os.write(descriptor, view) :]
