"""Small pictures of hostile files: decoded in processes that may die or hang without harm."""

import asyncio
import faulthandler
import os
import signal
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path

import cv2

from darkroom.core.shards import Location, read_member
from darkroom.images import decode
from darkroom.images.resize import encode_jpeg, shrink
from darkroom.workers.pool import new_pool

SMALL_PX, LARGE_PX = 360, 1600  # long side: twice what the page shows, for dense screens
QUALITY = 84
WORKERS = 2
TIMEOUT_S = 20.0
MAX_CACHE_BYTES = 64 * 2**20  # kept in memory

Size = int  # px of the long side


def make_thumbnail(
    folder: Path, location: Location, side_px: Size, max_pixels: int, timeout_s: float
) -> bytes:
    """Return the JPEG of one image, none where it does not decode. Ends a process that hangs."""
    faulthandler.dump_traceback_later(timeout_s, exit=True, file=_devnull())
    try:
        content = read_member(folder, location)
        whole = decode.decode(content, max_pixels, side_px)
    except (decode.DecodeError, OSError, ValueError):
        return b""
    finally:
        faulthandler.cancel_dump_traceback_later()
    return encode_jpeg(shrink(whole, side_px), QUALITY)


@cache
def _devnull() -> int:
    """Keep the last words of a process off the terminal."""
    return os.open(os.devnull, os.O_WRONLY)


def _ignore_interrupts() -> None:
    """Leave Ctrl+C to the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


class ThumbnailPool:
    """Draws pictures on demand, some at a time, and remembers the latest ones."""

    def __init__(
        self,
        make: Callable[[Path, Location, Size, int, float], bytes] = make_thumbnail,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Start no process yet; the first picture does. `make` runs in one and is importable."""
        self._make, self._timeout_s = make, timeout_s
        self._idle: asyncio.Queue[ProcessPoolExecutor] = asyncio.Queue()
        for _ in range(WORKERS):
            self._idle.put_nowait(_new_worker())
        self._cache: OrderedDict[tuple[Location, Size], bytes] = OrderedDict()
        self._size = 0

    async def get(self, folder: Path, location: Location, side_px: Size, max_pixels: int) -> bytes:
        """Return a JPEG, or nothing for an image that cannot be shown."""
        wanted = (location, side_px)
        if wanted in self._cache:
            self._cache.move_to_end(wanted)
            return self._cache[wanted]
        worker = await self._idle.get()
        try:
            loop = asyncio.get_running_loop()
            task = (folder, location, side_px, max_pixels, self._timeout_s)
            picture = await loop.run_in_executor(worker, self._make, *task)
        except BrokenProcessPool:  # the decoder crashed or hung: that image alone is lost
            worker.shutdown(wait=False)
            worker, picture = _new_worker(), b""
        finally:
            self._idle.put_nowait(worker)
        self._remember(wanted, picture)
        return picture

    def close(self) -> None:
        """End the idle processes, and wait for it: Python's own exit must not meet half a pool."""
        while not self._idle.empty():
            self._idle.get_nowait().shutdown(cancel_futures=True)

    def _remember(self, wanted: tuple[Location, Size], picture: bytes) -> None:
        self._size += len(picture) - len(self._cache.get(wanted, b""))
        self._cache[wanted] = picture
        while self._size > MAX_CACHE_BYTES:
            self._size -= len(self._cache.popitem(last=False)[1])


def _new_worker() -> ProcessPoolExecutor:
    return new_pool(1, _ignore_interrupts)
