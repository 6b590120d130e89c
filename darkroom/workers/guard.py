"""What an image may take while a worker is at it, and the note by which the parent knows of it."""

import os
import resource
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import inf
from pathlib import Path
from typing import NamedTuple


class Note(NamedTuple):
    """Who works on which image, and until when the parent lets it."""

    deadline_s: float  # of the system's monotonic clock, which all processes share
    process: int
    key: str

    def write(self, handle: int) -> None:
        """Overwrite the note in place: creating a file anew costs more than decoding an image."""
        os.pwrite(handle, _NOTE.pack(self.deadline_s, self.process, self.key.encode()), 0)


_NOTE = struct.Struct("<dq32s")  # a key has 32 characters
_handles: dict[Path, int] = {}  # the one open note of this worker


def read_note(path: Path) -> Note | None:
    """Return the note, None where the worker has not begun an image."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) != _NOTE.size:  # just created
        return None
    deadline_s, process, key = _NOTE.unpack(content)
    return Note(deadline_s, process, key.decode())


@contextmanager
def noted(path: Path, key: str, timeout_s: float, max_memory_bytes: int | None) -> Iterator[None]:
    """Keep a note of the image and limit this process, while within; see `engine.guarded`."""
    handle = _open_note(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    Note(time.monotonic() + timeout_s, os.getpid(), key).write(handle)
    try:
        if max_memory_bytes is not None:
            limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
            allowed = min([_memory_at_start() + max_memory_bytes, *limits])
            resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        Note(inf, os.getpid(), key).write(handle)


@cache
def _memory_at_start() -> int:
    """Return what this process held at its first image, as RLIMIT_DATA counts: private, writable.

    Once, since reading it takes as long as some images; what libraries keep later is small.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except FileNotFoundError:  # not Linux, where the limit does not work either
        return 0
    return pages * resource.getpagesize()


def _open_note(path: Path) -> int:
    if path not in _handles:
        while _handles:
            os.close(_handles.popitem()[1])
        _handles[path] = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    return _handles[path]
