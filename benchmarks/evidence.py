"""Verify pairs of pictures that are made in memory, in worker processes."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

import cv2
import pandas as pd
from threadpoolctl import threadpool_limits

from darkroom.dedupe.verify import Evidence, Prepared, compare, prepare
from darkroom.images.decode import Pixels

WORKERS = 2
PAIRS_PER_TASK = 200
_pictures: list[Sequence[Pixels]] = []  # one sequence, in each worker

Pair = tuple[int, int, bool]  # two positions, and whether to try the whole pictures


def gather_evidence(
    load: Callable[[], Sequence[Pixels]], pairs: pd.DataFrame, threshold: float
) -> tuple[pd.DataFrame, float]:
    """Return `pairs` with the columns of Evidence, and the seconds that it took in all.

    `key_a` and `key_b` are positions in what `load` returns, as text; every worker loads it again.
    """
    rows = pairs[["key_a", "key_b"]].astype(int).to_numpy()
    whole = pairs["normalised"] >= threshold
    items = [(int(a), int(b), bool(w)) for (a, b), w in zip(rows, whole, strict=True)]
    tasks = [items[i : i + PAIRS_PER_TASK] for i in range(0, len(items), PAIRS_PER_TASK)]
    with ProcessPoolExecutor(WORKERS, get_context("spawn"), _load, (load,)) as pool:
        list(pool.map(_verify, [[]] * WORKERS))  # starting and loading is not what is measured
        start = time.perf_counter()
        evidence = [found for part in pool.map(_verify, tasks) for found in part]
        seconds = time.perf_counter() - start
    frame = pd.DataFrame(evidence, columns=Evidence._fields, index=pairs.index)
    return pairs.join(frame), seconds


def _load(load: Callable[[], Sequence[Pixels]]) -> None:
    cv2.setNumThreads(1)
    _pictures.append(load())


def _verify(task: Sequence[Pair]) -> list[Evidence]:
    with threadpool_limits(1):  # as the pipeline's workers do
        return [compare(_prepared(a), _prepared(b), whole) for a, b, whole in task]


@lru_cache(maxsize=2048)
def _prepared(position: int) -> Prepared:
    return prepare(_pictures[0][position])
