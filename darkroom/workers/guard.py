"""Limits on the time and the memory of one image, and the watchdog that ends a hung decoder.

A worker writes down which image it is at and until when; its parent reads that while it waits.
"""

import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import inf
from pathlib import Path
from typing import NamedTuple


class CurrentImage(NamedTuple):
    """The image that a worker is at, and until when its parent lets it."""

    deadline_s: float  # of the system's monotonic clock, which all processes share
    process: int
    key: str

    def write(self, handle: int) -> None:
        """Overwrite the file in place: creating a new one costs more than decoding an image."""
        os.pwrite(handle, _RECORD.pack(self.deadline_s, self.process, self.key.encode()), 0)


_RECORD = struct.Struct("<dq32s")  # a key has 32 characters
_handles: dict[Path, int] = {}  # the one open file of this worker


def read_current(path: Path) -> CurrentImage | None:
    """Return the image that the worker is at, None where it has not begun one."""
    try:
        deadline_s, process, key = _RECORD.unpack(path.read_bytes())
    except (FileNotFoundError, struct.error):  # absent, or just created
        return None
    return CurrentImage(deadline_s, process, key.decode())


class Watchdog:
    """Ends the worker that is too long at one image."""

    def __init__(self, path: Path) -> None:
        """Watch the worker that writes the image it is at to `path`."""
        self._path = path
        self._late: CurrentImage | None = None

    def kill_if_hung(self) -> str | None:
        """Kill a worker that is past its deadline; return the key of its image, else None.

        Only when seen so twice: after a pause of the whole machine, nobody is late.
        """
        current = read_current(self._path)
        if current is None or current.deadline_s >= time.monotonic():
            return None
        if current != self._late:
            self._late = current
            return None
        with suppress(ProcessLookupError):
            os.kill(current.process, signal.SIGKILL)
        return current.key


@contextmanager
def guarded(path: Path, key: str, timeout_s: float, max_memory_bytes: int | None) -> Iterator[None]:
    """Write key and deadline to `path`, and limit the memory of this process, while within."""
    import resource  # Windows has none

    handle = _open(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    CurrentImage(time.monotonic() + timeout_s, os.getpid(), key).write(handle)
    try:
        if max_memory_bytes is not None:
            limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
            allowed = min([_memory_at_start() + max_memory_bytes, *limits])
            resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        CurrentImage(inf, os.getpid(), key).write(handle)


@cache
def _memory_at_start() -> int:
    """Return what this process held at its first image, as RLIMIT_DATA counts: private, writable.

    Once, since reading it takes as long as some images; what libraries keep later is small.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except FileNotFoundError:  # not Linux, where the limit does not work either
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open(path: Path) -> int:
    if path not in _handles:
        while _handles:
            os.close(_handles.popitem()[1])
        _handles[path] = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    return _handles[path]
