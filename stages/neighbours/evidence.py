"""Gather evidence on candidate pairs in worker processes."""

from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from stages.lib import shards, tables
from stages.lib.engine import worker_count
from stages.lib.params import EngineParams
from stages.lib.pixels import decode_at_least
from stages.neighbours.decide import decide
from stages.neighbours.verify import SIDE_PX, Evidence, Prepared, compare, prepare

PAIRS_PER_TASK = 64


def verify_pairs(
    folder: Path, places: pd.DataFrame, pairs: pd.DataFrame, threshold: float, engine: EngineParams
) -> pd.DataFrame:
    """Return PAIRS: the candidates with their evidence and verdict.

    `places` is indexed by key (`shard`, `offset`, `size`). Neighbouring pairs share an image, which
    a worker prepares once. The result does not depend on the number of workers.
    """
    rows = list(zip(pairs["key_a"], pairs["key_b"], strict=True))
    where = {row.Index: shards.Place(*row[1:]) for row in places.itertuples()}
    near = pairs["normalised"] >= threshold
    items = [(where[a], where[b], bool(w)) for (a, b), w in zip(rows, near, strict=True)]
    tasks = [items[i : i + PAIRS_PER_TASK] for i in range(0, len(items), PAIRS_PER_TASK)]
    evidence = [found for part in _run(folder, tasks, engine) for found in part]
    verdicts = [
        decide(float(normalised), found, threshold)
        for normalised, found in zip(pairs["normalised"], evidence, strict=True)
    ]
    return pairs.assign(
        agreement=[round(found.agreement, 6) for found in evidence],
        ssim=[round(found.ssim, 6) for found in evidence],
        mse=[round(found.mse, 6) for found in evidence],
        inliers=[found.inliers for found in evidence],
        duplicate=np.array([verdict.duplicate for verdict in verdicts], bool),
        decided_by=[verdict.decided_by for verdict in verdicts],
    )[tables.PAIRS.names]


Task = list[tuple[shards.Place, shards.Place, bool]]


def _run(folder: Path, tasks: list[Task], engine: EngineParams) -> list[list[Evidence]]:
    workers = min(worker_count(engine), len(tasks))
    if workers <= 1:
        return [verify_task(folder, task) for task in tasks]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(pool.map(verify_task, [folder] * len(tasks), tasks))


def verify_task(folder: Path, task: Task) -> list[Evidence]:
    """Return the evidence of a run of pairs, in their order."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):  # the workers share the cores already
        return [compare(_prepared(folder, a), _prepared(folder, b), w) for a, b, w in task]


@lru_cache(maxsize=2048)  # about 0.4 MB each
def _prepared(folder: Path, place: shards.Place) -> Prepared:
    return prepare(decode_at_least(shards.read_member(folder, place), SIDE_PX))
