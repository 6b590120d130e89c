"""Verify pairs of pictures that are made in memory, in worker processes."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from darkroom.dedupe.confirm import is_plain, show_different
from darkroom.dedupe.decide import Verdict, decide
from darkroom.dedupe.verify import Evidence, Picture, Question, compare_all
from darkroom.images.decode import Pixels

WORKERS = 2
PAIRS_PER_TASK = 200
_held: list[tuple[Sequence[Pixels], NDArray[np.int8]]] = []  # one of each, in each worker

Pair = tuple[int, int, float]  # two positions, and their normalised similarity


def gather_evidence(
    load: Callable[[], Sequence[Pixels]],
    local: NDArray[np.int8],
    pairs: pd.DataFrame,
    threshold: float,
) -> tuple[pd.DataFrame, float]:
    """Return `pairs` with evidence, verdict and last word, and the seconds that it took in all.

    The verdict is that of `decide`, taken back where `confirm` finds that the two differ.

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
            list(
                pool.map(partial(_verify, threshold), [[]] * WORKERS)
            )  # starting and loading is not measured
            start = time.perf_counter()
            told = [each for part in pool.map(partial(_verify, threshold), tasks) for each in part]
            seconds = time.perf_counter() - start
    columns = [*Evidence._fields, "duplicate", "decided_by"]
    return pairs.join(pd.DataFrame(told, columns=columns, index=pairs.index)), seconds


def _load(load: Callable[[], Sequence[Pixels]], local: Path) -> None:
    cv2.setNumThreads(1)
    _held.append((load(), np.load(local, mmap_mode="r")))


def _verify(threshold: float, task: Sequence[Pair]) -> list[tuple[Any, ...]]:
    if not task:
        return []
    with threadpool_limits(1):  # as the pipeline's workers do
        questions = [Question(_picture(a), _picture(b), normalised) for a, b, normalised in task]
        told = []
        for (a, b, normalised), evidence in zip(task, compare_all(questions), strict=True):
            verdict = decide(normalised, evidence, threshold)
            if verdict.duplicate and _differ(a, b, evidence, verdict.decided_by == "covered"):
                verdict = Verdict(False, "difference")
            told.append((*evidence, *verdict))
        return told


def _differ(a: int, b: int, evidence: Evidence, covered: bool) -> bool:
    one, other = _held[0][0][a], _held[0][0][b]
    return not is_plain(evidence, covered, one) and show_different(one, other, evidence)


@lru_cache(maxsize=2048)
def _picture(position: int) -> Picture:
    pictures, local = _held[0]
    return Picture(local[position], lambda: pictures[position])
