"""Content hashes of files, kept between runs by path, size and time of change."""

import hashlib
import os
from pathlib import Path
from time import time_ns
from typing import NamedTuple

from darkroom.core.files import write_text

# A file changed this shortly before it was read may change again without a new time (git calls
# such entries racily clean); it is read again next time.
FRESH_NS = 2_000_000_000
AT_ONCE_BYTES = 2**22  # smaller files are read in one piece


class FileState(NamedTuple):
    """Size, time and key of a file when its key was computed."""

    size: int
    mtime_ns: int
    key: str


class HashCache:
    """The keys of files; `save` keeps those that were looked up, and forgets the others."""

    def __init__(self, cache: Path) -> None:
        """Read what is known."""
        self._path, self._known = cache, _read(cache)
        self._looked_up: dict[str, FileState] = {}
        self._now = time_ns()

    def look_up(self, name: str, path: Path) -> FileState:
        """Return size, time and key of a file, read only if it has changed. Raises OSError."""
        status = path.stat()
        size_and_time, known = (status.st_size, status.st_mtime_ns), self._known.get(name)
        key = known.key if known and known[:2] == size_and_time else hash_file(path)
        state = FileState(*size_and_time, key)
        if state.mtime_ns < self._now - FRESH_NS:
            self._looked_up[name] = state
        return state

    def save(self) -> None:
        """Write the cache, if it is no longer as it was."""
        if self._looked_up != self._known:
            _write(self._path, self._looked_up)


def hash_file(path: Path) -> str:
    """Return the key of a file's bytes, as core.shards.key_of."""
    with path.open("rb", buffering=0) as handle:
        if os.fstat(handle.fileno()).st_size <= AT_ONCE_BYTES:
            return hashlib.sha256(handle.readall()).hexdigest()[:32]
        return hashlib.file_digest(handle, "sha256").hexdigest()[:32]


def _read(path: Path) -> dict[str, FileState]:
    """Read lines of size, time, key and name; a file that is not as written counts as empty."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [line.split("\t", 3) for line in lines if line]
        return {name: FileState(int(size), int(mtime), key) for size, mtime, key, name in rows}
    except (OSError, ValueError):
        return {}


def _write(path: Path, states: dict[str, FileState]) -> None:
    # A name with a line break would be two lines: such a file is read again each time.
    lines = [
        f"{state.size}\t{state.mtime_ns}\t{state.key}\t{name}\n"
        for name, state in sorted(states.items())
        if not {"\n", "\r"} & set(name)
    ]
    write_text(path, "".join(lines))
