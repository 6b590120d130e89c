"""Gather evidence on candidate pairs in worker processes, and remember it from run to run.

Evidence depends on the two pictures and on the question (were they tried as whole pictures, too)
and on nothing else, so that a pair is verified once: `evidence-<version>` holds what was found, in
parts that are written every few seconds and become one table at the end.

Finding a picture's keypoints costs ten times what comparing two pictures does. So pairs are taken
in blocks of neighbouring pictures, and within a block the workers share what each has prepared
through files, 0.15 MB a picture, 1 GB a block at most; memory does not grow with the pairs.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from threadpoolctl import threadpool_limits

from darkroom.core import shards, tables
from darkroom.core.files import unfinished
from darkroom.core.params.engine import EngineParams
from darkroom.core.progress import Progress
from darkroom.dedupe.decide import decide
from darkroom.dedupe.verify import SIDE_PX, VERSION, Evidence, Keypoints, Prepared, compare, prepare
from darkroom.images.decode import decode_at_least
from darkroom.workers.pool import new_pool, worker_count

# Another library may find other keypoints in the same picture.
MADE_BY = f"{VERSION}-{cv2.getVersionString()}-{version('scikit-image')}"
PER_TASK = 64  # about half a second
TASKS_TO_SHARE = 4  # with fewer, starting a worker costs more than it saves
PICTURES_PER_BLOCK = 8000  # 1 GB of prepared pictures
HELD_PICTURES = 512  # per worker, 0.3 MB each with their mirror images
SECONDS_PER_PART = 5.0  # what a killed run loses
logger = logging.getLogger(__name__)

QUESTION = ["key_a", "key_b", "whole"]
REMEMBERED = pa.schema(
    [
        ("key_a", pa.string()),
        ("key_b", pa.string()),
        ("whole", pa.bool_()),
        *((name, pa.int64() if name == "inliers" else pa.float64()) for name in Evidence._fields),
    ]
)


def verify_pairs(
    folder: Path,
    places: pd.DataFrame,
    pairs: pd.DataFrame,
    threshold: float,
    engine: EngineParams,
    scratch: Path,
) -> pd.DataFrame:
    """Return PAIRS: the candidates with their evidence and verdict.

    `places` is indexed by key (`shard`, `offset`, `size`). Pairs that `scratch` holds evidence on
    are not verified again. The result depends neither on that nor on the number of workers.
    """
    memory = scratch / f"evidence-{MADE_BY}"
    asked = pairs.assign(whole=pairs["normalised"] >= threshold)
    found = asked.merge(_recall(memory), "left", QUESTION)
    unknown = found.loc[found["inliers"].isna(), QUESTION]
    if len(unknown):
        _verify_unknown(folder, places, unknown, engine, scratch, memory)
        found = asked.merge(_recall(memory), "left", QUESTION)
    evidence = [Evidence(int(row[0]), *row[1:]) for row in _rows(found, Evidence._fields)]
    verdicts = [
        decide(float(normalised), evident, threshold)
        for normalised, evident in zip(pairs["normalised"], evidence, strict=True)
    ]
    return found.assign(
        agreement=found["agreement"].round(6),
        ssim=found["ssim"].round(6),
        mse=found["mse"].round(6),
        inliers=found["inliers"].astype("int64"),
        duplicate=np.array([verdict.duplicate for verdict in verdicts], bool),
        decided_by=[verdict.decided_by for verdict in verdicts],
    )[tables.PAIRS.names]


def _rows(frame: pd.DataFrame, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(frame[name] for name in columns), strict=True)


Question = tuple[str, str, bool]  # the two keys, and whether they are tried as wholes


class Pair(NamedTuple):
    """Two stored pictures, by key and place, and whether to try them as wholes."""

    a: tuple[str, shards.Place]
    b: tuple[str, shards.Place]
    whole: bool


def _verify_unknown(
    folder: Path,
    places: pd.DataFrame,
    unknown: pd.DataFrame,
    engine: EngineParams,
    scratch: Path,
    memory: Path,
) -> None:
    """Add the evidence on unknown pairs to `memory`, a part every few seconds."""
    where = {row.Index: (str(row.Index), shards.Place(*row[1:])) for row in places.itertuples()}
    progress = Progress("dedupe, verify", len(unknown), "pair")
    done: list[tuple[Any, ...]] = []
    said = time.monotonic()
    shared = scratch / f"prepared-{MADE_BY}"
    with _workers(engine, len(unknown)) as apply:
        for block in _blocks(list(_rows(unknown, QUESTION))):
            tasks = [
                [Pair(where[a], where[b], bool(whole)) for a, b, whole in block[i : i + PER_TASK]]
                for i in range(0, len(block), PER_TASK)
            ]
            shared.mkdir(parents=True, exist_ok=True)
            for task, evidence in zip(tasks, apply(folder, shared, tasks), strict=True):
                done += [(p.a[0], p.b[0], p.whole, *e) for p, e in zip(task, evidence, strict=True)]
                progress.advance(len(task))
                if time.monotonic() - said > SECONDS_PER_PART:
                    _remember(memory, done)
                    done, said = [], time.monotonic()
            shutil.rmtree(shared)
    progress.finish()
    _remember(memory, done)
    _tidy(scratch, memory, set(places.index))


def _blocks(questions: list[Question]) -> Iterator[list[Question]]:
    """Yield pairs in blocks of few pictures, near ones together (Cuthill and McKee 1969)."""
    names = sorted({key for a, b, _ in questions for key in (a, b)})
    row = {name: position for position, name in enumerate(names)}
    a, b = np.array([(row[a], row[b]) for a, b, _ in questions]).T
    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(names), len(names))).tocsr()
    place = np.empty(len(names), np.int64)
    place[reverse_cuthill_mckee(links + links.T, symmetric_mode=True)] = np.arange(len(names))
    near = np.lexsort((np.maximum(place[a], place[b]), np.minimum(place[a], place[b])))
    block: list[Question] = []
    pictures: set[str] = set()
    for number in near.tolist():
        block.append(questions[number])
        pictures.update(questions[number][:2])
        if len(pictures) >= PICTURES_PER_BLOCK:
            yield block
            block, pictures = [], set()
    if block:
        yield block


Apply = Callable[[Path, Path, list[list[Pair]]], Iterator[list[Evidence]]]


@contextmanager
def _workers(engine: EngineParams, pairs: int) -> Iterator[Apply]:
    """Give a function that verifies tasks in worker processes, or here if they are few."""
    tasks = -(-pairs // PER_TASK)
    workers = min(worker_count(engine), tasks)
    if workers <= 1 or tasks < TASKS_TO_SHARE:
        yield lambda folder, shared, tasks: (verify_task(folder, shared, task) for task in tasks)
        return
    with new_pool(workers) as pool:
        yield lambda folder, shared, tasks: pool.map(
            verify_task, repeat(folder), repeat(shared), tasks
        )


def verify_task(folder: Path, shared: Path, task: list[Pair]) -> list[Evidence]:
    """Return the evidence on a run of pairs, in their order."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):  # the workers share the cores already
        return [
            compare(_prepared(folder, shared, *a), _prepared(folder, shared, *b), whole)
            for a, b, whole in task
        ]


@lru_cache(maxsize=HELD_PICTURES)
def _prepared(folder: Path, shared: Path, key: str, place: shards.Place) -> Prepared:
    """Return a picture as any worker prepared it; prepare it for all if none has."""
    path = shared / f"{key}.npz"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            prepared = Prepared(stored["grey"], bool(stored["flat"]))
            found = Keypoints(stored["points"], stored["descriptors"])
            prepared.__dict__["keypoints"] = found  # where cached_property keeps it
            return prepared
    except FileNotFoundError:
        pass
    prepared = prepare(decode_at_least(shards.read_member(folder, place), SIDE_PX))
    temporary = path.with_name(f".unfinished-{os.getpid()}-{path.name}")
    with temporary.open("wb") as target:
        np.savez(
            target, allow_pickle=False, grey=prepared.grey, flat=np.array(prepared.flat),
            points=prepared.keypoints.points, descriptors=prepared.keypoints.descriptors,
        )  # fmt: skip
    temporary.replace(path)
    return prepared


def _recall(memory: Path) -> pd.DataFrame:
    """Return all evidence that is remembered, each question once."""
    found = [REMEMBERED.empty_table()]
    for path in _parts(memory):
        try:
            found.append(pq.read_table(path, schema=REMEMBERED))
        except pa.ArrowInvalid:
            logger.warning("dedupe: %s is broken; what it held is verified again", path)
    return pa.concat_tables(found).to_pandas().drop_duplicates(QUESTION)


def _parts(memory: Path) -> list[Path]:
    return sorted(memory.glob("[0-9]*.parquet"))


def _remember(memory: Path, done: list[tuple[Any, ...]]) -> None:
    """Write one more part."""
    frame = pd.DataFrame(done, columns=REMEMBERED.names)
    _write(_next(memory), frame)


def _next(memory: Path) -> Path:
    last = max((int(path.stem) for path in _parts(memory)), default=0)
    return memory / f"{last + 1:08d}.parquet"


def _tidy(scratch: Path, memory: Path, keys: set[str]) -> None:
    """Make one table of the parts, without images that are gone and what older code found."""
    found = _recall(memory)
    found = found[found["key_a"].isin(keys) & found["key_b"].isin(keys)]
    parts = _parts(memory)
    _write(_next(memory), found)
    for path in parts:
        path.unlink()
    for old in [*scratch.glob("evidence-*"), *scratch.glob("prepared-*")]:
        if old != memory:
            shutil.rmtree(old)


def _write(path: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame, schema=REMEMBERED, preserve_index=False)
    temporary = unfinished(path)
    pq.write_table(table, temporary, compression="zstd")
    temporary.replace(path)
