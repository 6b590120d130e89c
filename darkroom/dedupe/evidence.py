"""Gather evidence on candidate pairs in worker processes, and remember it from run to run.

Evidence depends on the two pictures and on the question (were they tried as whole pictures, too)
and on nothing else, so that a pair is verified once: `evidence-<version>` holds the evidence, in
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
from darkroom.core.files import publish
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
EVIDENCE = pa.schema(
    [
        ("key_a", pa.string()),
        ("key_b", pa.string()),
        ("whole", pa.bool_()),
        *((name, pa.int64() if name == "inliers" else pa.float64()) for name in Evidence._fields),
    ]
)


class EvidenceCache:
    """Evidence on each question, kept from run to run: parts on disk, read once."""

    def __init__(self, scratch: Path) -> None:
        """Read what `scratch` holds; evidence that a broken part held is gathered again."""
        self.scratch = scratch
        self._folder = scratch / f"evidence-{MADE_BY}"
        self._tables = [EVIDENCE.empty_table()]
        for path in self._parts():
            try:
                self._tables.append(pq.read_table(path, schema=EVIDENCE))
            except pa.ArrowInvalid:
                logger.warning("dedupe: %s is broken; what it held is verified again", path)
        self._grown = False

    def table(self) -> pd.DataFrame:
        """Return EVIDENCE, each question once."""
        return pa.concat_tables(self._tables).to_pandas().drop_duplicates(QUESTION)

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Keep more evidence, rows of EVIDENCE, in one more part."""
        frame = pd.DataFrame(rows, columns=EVIDENCE.names)
        self._tables.append(pa.Table.from_pandas(frame, schema=EVIDENCE, preserve_index=False))
        self._write(self._tables[-1])
        self._grown = True

    def compact(self, keys: set[str]) -> None:
        """Make one part of all that were added to; drop images that are gone, and older code's."""
        if not self._grown:
            return
        table = self.table()
        table = table[table["key_a"].isin(keys) & table["key_b"].isin(keys)]
        parts = self._parts()
        self._write(pa.Table.from_pandas(table, schema=EVIDENCE, preserve_index=False))
        for path in parts:
            path.unlink()
        for old in [*self.scratch.glob("evidence-*"), *self.scratch.glob("prepared-*")]:
            if old != self._folder:
                shutil.rmtree(old)

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*.parquet"))

    def _write(self, table: pa.Table) -> None:
        last = max((int(path.stem) for path in self._parts()), default=0)
        path = self._folder / f"{last + 1:08d}.parquet"
        with publish(path) as handle:
            pq.write_table(table, handle, compression="zstd")


def verify_pairs(
    folder: Path,
    locations: pd.DataFrame,
    pairs: pd.DataFrame,
    threshold: float,
    engine: EngineParams,
    cache: EvidenceCache,
) -> pd.DataFrame:
    """Return PAIRS: the candidates with their evidence and verdict.

    `locations` is indexed by key (`shard`, `offset`, `size`). Pairs that `cache` holds evidence on
    are not verified again. The result depends neither on that nor on the number of workers.
    """
    asked = pairs.assign(whole=pairs["normalised"] >= threshold)
    answered = asked.merge(cache.table(), "left", QUESTION)
    unknown = answered.loc[answered["inliers"].isna(), QUESTION]
    if len(unknown):
        _verify_unknown(folder, locations, unknown, engine, cache)
        answered = asked.merge(cache.table(), "left", QUESTION)
    evidence = [Evidence(int(row[0]), *row[1:]) for row in _rows(answered, Evidence._fields)]
    similar = pairs["normalised"].astype(float)
    verdicts = [decide(n, e, threshold) for n, e in zip(similar, evidence, strict=True)]
    return answered.round({"agreement": 6, "ssim": 6, "mse": 6}).assign(
        inliers=answered["inliers"].astype("int64"),
        duplicate=np.array([verdict.duplicate for verdict in verdicts], bool),
        decided_by=[verdict.decided_by for verdict in verdicts],
    )[tables.PAIRS.names]


def _rows(frame: pd.DataFrame, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(frame[name] for name in columns), strict=True)


Question = tuple[str, str, bool]  # the two keys, and whether they are tried as wholes


class Comparison(NamedTuple):
    """Two stored pictures, by key and location, and whether to try them as wholes."""

    a: tuple[str, shards.Location]
    b: tuple[str, shards.Location]
    whole: bool


def _verify_unknown(
    folder: Path,
    locations: pd.DataFrame,
    unknown: pd.DataFrame,
    engine: EngineParams,
    cache: EvidenceCache,
) -> None:
    """Add the evidence on unknown pairs to the cache, a part every few seconds."""
    where = {
        row.Index: (str(row.Index), shards.Location(*row[1:])) for row in locations.itertuples()
    }
    progress = Progress("dedupe, verify", len(unknown), "pair")
    done: list[tuple[Any, ...]] = []
    added = time.monotonic()
    shared = cache.scratch / f"prepared-{MADE_BY}"
    with _workers(engine, len(unknown)) as apply_to_all:
        for block in _blocks(list(_rows(unknown, QUESTION))):
            tasks = [
                [
                    Comparison(where[a], where[b], bool(whole))
                    for a, b, whole in block[i : i + PER_TASK]
                ]
                for i in range(0, len(block), PER_TASK)
            ]
            shared.mkdir(parents=True, exist_ok=True)
            results = apply_to_all(verify_task, repeat(folder), repeat(shared), tasks)
            for task, evidence in zip(tasks, results, strict=True):
                done += [(c.a[0], c.b[0], c.whole, *e) for c, e in zip(task, evidence, strict=True)]
                progress.advance(len(task))
                if time.monotonic() - added > SECONDS_PER_PART:
                    cache.add(done)
                    done, added = [], time.monotonic()
            shutil.rmtree(shared)
    progress.finish()
    cache.add(done)


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


@contextmanager
def _workers(engine: EngineParams, pairs: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Give a `map` that works in worker processes, or here if tasks are few."""
    tasks = -(-pairs // PER_TASK)
    workers = min(worker_count(engine), tasks)
    if workers <= 1 or tasks < TASKS_TO_SHARE:
        yield map
        return
    with new_pool(workers) as pool:
        yield pool.map


def verify_task(folder: Path, shared: Path, task: list[Comparison]) -> list[Evidence]:
    """Return the evidence on a run of pairs, in their order."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):  # the workers share the cores already
        return [
            compare(_prepared(folder, shared, *a), _prepared(folder, shared, *b), whole)
            for a, b, whole in task
        ]


@lru_cache(maxsize=HELD_PICTURES)
def _prepared(folder: Path, shared: Path, key: str, place: shards.Location) -> Prepared:
    """Return a picture as any worker prepared it; prepare it for all if none has."""
    path = shared / f"{key}.npz"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            prepared = Prepared(stored["grey"], bool(stored["flat"]))
            keypoints = Keypoints(stored["points"], stored["descriptors"])
            prepared.__dict__["keypoints"] = keypoints  # where cached_property keeps it
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
