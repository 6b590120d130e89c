"""Verify pairs of pictures that are made in memory, in worker processes."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from darkroom.dedupe.confirm import is_plain, show_different
from darkroom.dedupe.decide import Verdict, decide, decide_placed
from darkroom.dedupe.placed import find_place, swap
from darkroom.dedupe.verify import NOTHING, Evidence, Picture, Question, align_all, compare_all
from darkroom.images.decode import Pixels

WORKERS = 2
PAIRS_PER_TASK = 200
# one of each, in each worker: pictures, local descriptors, small greys
_held: list[tuple[Sequence[Pixels], NDArray[np.int8], NDArray[np.uint8]]] = []


class Pair(NamedTuple):
    """Two positions, and what is asked of them."""

    a: int
    b: int
    normalised: float
    whole: bool  # whether they are candidates by their embeddings
    holds: int  # 1 if the first may hold the second, -1 if the second the first


def gather_evidence(
    load: Callable[[], Sequence[Pixels]],
    local: NDArray[np.int8],
    small: NDArray[np.uint8],
    pairs: pd.DataFrame,
    threshold: float,
) -> tuple[pd.DataFrame, float]:
    """Return `pairs` with evidence, verdict and last word, and the seconds that it took in all.

    The verdict is that of `decide`, taken back where `confirm` finds that the two differ.

    `key_a` and `key_b` are positions in what `load` returns, as text; every worker loads it again.
    `local` (n, PLACES, d) has the descriptors of each, `small` (n, side, side) its greys. Where
    `pairs` has no columns `whole` and `holds`, all are candidates by their embeddings alone.
    """
    asked = pairs.assign(**{"whole": True, "holds": 0, **pairs[pairs.columns]})
    rows = asked[["key_a", "key_b", "normalised", "whole", "holds"]].itertuples(index=False)
    items = [Pair(int(a), int(b), *rest) for a, b, *rest in rows]
    tasks = [items[i : i + PAIRS_PER_TASK] for i in range(0, len(items), PAIRS_PER_TASK)]
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder)
        np.save(stored / "local.npy", local)
        np.save(stored / "small.npy", small)
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


def _load(load: Callable[[], Sequence[Pixels]], stored: Path) -> None:
    cv2.setNumThreads(1)
    described = (np.load(stored / name, mmap_mode="r") for name in ("local.npy", "small.npy"))
    _held.append((load(), *described))


def _verify(threshold: float, task: Sequence[Pair]) -> list[tuple[Any, ...]]:
    if not task:
        return []
    with threadpool_limits(1):  # as the pipeline's workers do
        near = [pair for pair in task if pair.whole]
        seen = compare_all([Question(_picture(p.a), _picture(p.b), p.normalised) for p in near])
        evidence_of = dict(zip(near, seen, strict=True))
        told = []
        for pair in task:
            evidence = evidence_of.get(pair, NOTHING)
            verdict = decide(pair.normalised, evidence, threshold)
            if pair.holds and not verdict.duplicate:
                placed = _verify_placed(pair)
                if decide_placed(placed).duplicate:
                    evidence, verdict = placed, decide_placed(placed)
            covered = verdict.decided_by == "covered"
            if verdict.duplicate and _differ(pair.a, pair.b, evidence, covered):
                verdict = Verdict(False, "difference")
            told.append((*evidence, *verdict))
        return told


def _verify_placed(pair: Pair) -> Evidence:
    pictures, _, small = _held[0]
    holder, placed = (pair.a, pair.b)[:: pair.holds]
    stretch = _aspect(pictures[placed]) / _aspect(pictures[holder])
    found = find_place(small[holder], small[placed], stretch)
    if found is None:
        return NOTHING
    [evidence] = align_all([(_picture(holder), _picture(placed))], [found])
    return evidence if pair.holds > 0 else swap(evidence)


def _aspect(picture: Pixels) -> float:
    return picture.shape[1] / picture.shape[0]


def _differ(a: int, b: int, evidence: Evidence, covered: bool) -> bool:
    one, other = _held[0][0][a], _held[0][0][b]
    return not is_plain(evidence, covered, one) and show_different(one, other, evidence)


@lru_cache(maxsize=2048)
def _picture(position: int) -> Picture:
    pictures, local, _ = _held[0]
    return Picture(local[position], lambda: pictures[position])
