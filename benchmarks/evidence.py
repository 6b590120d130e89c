"""Verify pairs of pictures that are made in memory, in worker processes."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from darkroom.dedupe import matching
from darkroom.dedupe.verify import NOTHING, VERY_NEAR, Evidence, Picture, compare
from darkroom.images.decode import Pixels

WORKERS = 2
PAIRS_PER_TASK = 200
_held: list[tuple[Sequence[Pixels], NDArray[np.int8]]] = []  # one of each, in each worker

Pair = tuple[int, int, float]  # two positions, and their normalised similarity


def gather_evidence(
    load: Callable[[], Sequence[Pixels]], local: NDArray[np.int8], pairs: pd.DataFrame
) -> tuple[pd.DataFrame, float]:
    """Return `pairs` with the columns of Evidence, and the seconds that it took in all.

    `key_a` and `key_b` are positions in what `load` returns, as text; every worker loads it again.
    `local` (n, PLACES, d) has the descriptors of each.
    """
    rows = pairs[["key_a", "key_b"]].astype(int).to_numpy()
    items = [(int(a), int(b), n) for (a, b), n in zip(rows, pairs["normalised"], strict=True)]
    tasks = [items[i : i + PAIRS_PER_TASK] for i in range(0, len(items), PAIRS_PER_TASK)]
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "local.npy"
        np.save(stored, local)
        context = get_context("spawn")
        with ProcessPoolExecutor(WORKERS, context, _load, (load, stored)) as pool:
            list(pool.map(_verify, [[]] * WORKERS))  # starting and loading is not measured
            start = time.perf_counter()
            evidence = [found for part in pool.map(_verify, tasks) for found in part]
            seconds = time.perf_counter() - start
    frame = pd.DataFrame(evidence, columns=Evidence._fields, index=pairs.index)
    return pairs.join(frame), seconds


def _load(load: Callable[[], Sequence[Pixels]], local: Path) -> None:
    cv2.setNumThreads(1)
    _held.append((load(), np.load(local, mmap_mode="r")))


def _verify(task: Sequence[Pair]) -> list[Evidence]:
    if not task:
        return []
    with threadpool_limits(1):  # as the pipeline's workers do
        local = _held[0][1]
        a, b = (matching.coarse(local[[pair[side] for pair in task]]) for side in (0, 1))
        likely = matching.coarse_strength(a, b) >= matching.MIN_COARSE_STRENGTH
        return [
            compare(_picture(a), _picture(b), normalised)
            if fits or normalised >= VERY_NEAR
            else NOTHING
            for (a, b, normalised), fits in zip(task, likely, strict=True)
        ]


@lru_cache(maxsize=2048)
def _picture(position: int) -> Picture:
    pictures, local = _held[0]
    return Picture(local[position], lambda: pictures[position])
