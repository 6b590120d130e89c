"""How an image of any size becomes the square views that a model takes.

Two rules, stored in `model.json` so that training, evaluation and prediction apply the same one:

- `crop` (backbone `small`): pixels are never resized, since blur, noise and compression are lost
  by it. An image below one and a half squares is seen through its centre, a larger one through
  2 or 3 squares per side, spread to its edges, whose predictions are averaged. Only an image with
  a side below the square is enlarged first.
- `resize` (every other backbone): the short side is resized to the square, the centre is taken.

Training looks at one square per image and epoch, at a random place and flipped at random unless
`train.horizontal_flip` is false; under `resize` the short side is then a seventh larger than the
square, so that there are places. Ratings under `crop` are of technical quality, which has no
upright: there quarter turns come on top.

A JPEG that is resized and not filtered first is decoded at 1/2 to 1/8 of its size where that is
still large enough for training; again everywhere alike. Decoding runs ahead on all cores.
"""

import logging
import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from darkroom.images.decode import Pixels
from darkroom.images.resize import resize
from darkroom.workers.cores import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
InputRule = Literal["crop", "resize"]
Views = NDArray[np.uint8]  # (views, size, size, 3) RGB

MAX_VIEWS_PER_SIDE = 3
VIEWS_PER_BATCH = 32
# Of prepared images in memory, for each set of them (train and validation; for deep one-class
# learning those of normal and of reference images); beyond it they go to disk.
CACHE_BYTES = 2 * 2**30
MIN_FREE_BYTES = 4 * 2**30  # left on the disk; beyond it images are decoded every epoch
MARGIN = 256 / 224  # short side of a training image over the square, as in common use
MAX_SQUARES_KEPT = 4  # a training image is cut to this many squares per side, to bound memory

logger = logging.getLogger(__name__)


def min_side(size_px: int, rule: InputRule, task: str, filtered: bool) -> int | None:
    """Return the side in px down to which a JPEG may be decoded; None for whole images.

    Filters are set for pixels as they were taken, and so is what `crop` looks at. Ratings are of
    detail, which a smaller decoding loses: on 1,499 photographs of BIQ2021 the rank correlation of
    a ridge regression on MobileNetV2's features fell from 0.638 to 0.616.
    """
    whole = rule == "crop" or filtered or task == "rating"
    return None if whole else round(size_px * MARGIN)


def views(pixels: Pixels, size_px: int, rule: InputRule) -> Views:
    """Return the squares through which a finished model sees an image: (views, size, size, 3)."""
    if rule == "resize":
        return crop_centre(_resize_short_side(pixels, size_px), size_px, size_px)[None]
    if min(pixels.shape[:2]) < size_px:
        pixels = _resize_short_side(pixels, size_px)
    tops, lefts = (_starts(side, size_px) for side in pixels.shape[:2])
    return np.stack(
        [pixels[t : t + size_px, left : left + size_px] for t in tops for left in lefts]
    )


def _starts(side: int, size_px: int) -> list[int]:
    """Return where the squares begin along one side: the centre, or spread to both ends."""
    count = min(MAX_VIEWS_PER_SIDE, int(side / size_px + 0.5))
    if count == 1:
        return [(side - size_px) // 2]
    return [int(start) for start in np.linspace(0, side - size_px, count).round()]


def crop_for_training(pixels: Pixels, size_px: int, rule: InputRule) -> Pixels:
    """Return what training keeps of an image: never smaller than the square, and not much larger.

    Under `resize` the short side is `MARGIN` times the square; under `crop` it is untouched.
    """
    if rule == "resize":
        short = round(size_px * MARGIN)
        return np.ascontiguousarray(crop_centre(_resize_short_side(pixels, short), short, short))
    if min(pixels.shape[:2]) < size_px:
        pixels = _resize_short_side(pixels, size_px)
    most = size_px * MAX_SQUARES_KEPT
    return np.ascontiguousarray(crop_centre(pixels, most, most))


def random_view(
    pixels: Pixels,
    size_px: int,
    rng: np.random.Generator,
    quarter_turns: bool = False,
    horizontal_flip: bool = True,
) -> Pixels:
    """Return one square at a random place: (size, size, 3).

    With `horizontal_flip` it is flipped left to right in half of the cases; with `quarter_turns`
    it is rotated by quarters as well, which moves pixels and changes none.
    """
    top, left = (int(rng.integers(side - size_px + 1)) for side in pixels.shape[:2])
    square = pixels[top : top + size_px, left : left + size_px]
    square = np.rot90(square, int(rng.integers(4))) if quarter_turns else square
    return square[:, ::-1] if horizontal_flip and rng.integers(2) else square


def crop_centre(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return the centre of an image, at most (height, width, 3)."""
    top, left = (
        max(0, (a - b) // 2) for a, b in zip(pixels.shape[:2], (height, width), strict=True)
    )
    return pixels[top : top + height, left : left + width]


def _resize_short_side(pixels: Pixels, short: int) -> Pixels:
    """Resize so that the short side has `short` pixels; a long banner is first cut to 4 : 1."""
    least = min(pixels.shape[:2])
    pixels = crop_centre(pixels, 4 * least, 4 * least)
    height, width = (max(short, round(side * short / least)) for side in pixels.shape[:2])
    return resize(pixels, width, height)


def predict_each(
    predict_batch: Callable[[NDArray[np.float32]], NDArray[np.float32]], images: Iterable[Views]
) -> NDArray[np.float32]:
    """Return one distribution per image, the mean over its views: (n, bins or classes).

    `predict_batch` maps (b, size, size, 3) in [0, 255] to (b, bins or classes). No more than a
    batch and the views of one image are in memory at a time.
    """
    results: list[NDArray[np.float32]] = []
    for batch in _gathered(images):
        predicted = predict_batch(np.concatenate(batch).astype(np.float32))
        ends = np.cumsum([len(one) for one in batch])[:-1]
        results.extend(rows.mean(axis=0) for rows in np.split(predicted, ends))
    return np.array(results, np.float32)


def _gathered(images: Iterable[Views]) -> Iterator[list[Views]]:
    """Group images so that each group has about `VIEWS_PER_BATCH` views."""
    batch: list[Views] = []
    for one in images:
        batch.append(one)
        if sum(map(len, batch)) >= VIEWS_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def prefetch(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield function(item) in order, made ahead by a thread per core (decoding frees the lock).

    Twice as many results as cores wait at most.
    """
    threads = available_cores()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class CachedArrays(Sequence[NDArray[np.uint8]]):
    """Arrays that are made when first asked for, and kept: in memory, then in a file.

    The file has no name and goes with the process, also when that is killed.
    """

    def __init__(
        self, make: Callable[[int], NDArray[np.uint8]], count: int, folder: Path | None = None,
        limit: int = CACHE_BYTES,
    ) -> None:  # fmt: skip
        """Promise `count` arrays from `make(position)`; `limit` bytes stay in memory at most.

        What is beyond goes to the disk of `folder`; without one it is made each time.
        """
        self._make, self._count, self._free, self._folder = make, count, limit, folder
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._stored: dict[int, tuple[int, tuple[int, ...]]] = {}  # where in the file, its shape
        self._end = 0
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of arrays."""
        return self._count

    def __getitem__(self, position: Any) -> Any:
        """Return the array at `position`, made or kept. Raises IndexError past the end."""
        if position >= self._count:
            raise IndexError(position)
        kept = self._kept.get(position)
        if kept is not None:
            return kept
        if position in self._stored:
            return self._read(*self._stored[position])
        made = self._make(position)
        with self._lock:
            self._keep(position, made)
        return made

    def _keep(self, position: int, made: NDArray[np.uint8]) -> None:
        if position in self._kept or position in self._stored:
            return
        if made.nbytes <= self._free:
            self._kept[position] = made
            self._free -= made.nbytes
        elif self._folder:
            self._write(self._folder, position, made)

    def _write(self, folder: Path, position: int, made: NDArray[np.uint8]) -> None:
        if not self._end:
            folder.mkdir(parents=True, exist_ok=True)
            self._file, name = tempfile.mkstemp(dir=folder)
            Path(name).unlink()
            weakref.finalize(self, os.close, self._file)
        if shutil.disk_usage(folder).free - made.nbytes < MIN_FREE_BYTES:
            logger.warning("%s: the disk is full, images are decoded in every epoch", folder)
            self._folder = None
            return
        os.pwrite(self._file, np.ascontiguousarray(made).data, self._end)
        self._stored[position] = self._end, made.shape
        self._end += made.nbytes

    def _read(self, start: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        content = os.pread(self._file, int(np.prod(shape)), start)
        return np.frombuffer(content, np.uint8).reshape(shape)
