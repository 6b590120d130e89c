"""Gather evidence on candidate pairs in worker processes, and remember it from run to run.

Evidence depends on the two pictures and on nothing else, so that a pair is verified once:
`evidence-<version>` holds the evidence, in parts that are written every few seconds and become one
table at the end. A pair needs the descriptors that embed has written; most pairs need no more. Only
pictures of pairs that these do not refuse are read, and neighbouring pairs are taken together, so
that a worker has most of them at hand; the pictures in memory do not grow with the pairs.
"""

import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from threadpoolctl import threadpool_limits

from darkroom.core import tables
from darkroom.core.files import publish
from darkroom.core.params.engine import EngineParams
from darkroom.core.progress import Progress
from darkroom.dedupe.decide import Verdict, decide
from darkroom.dedupe.verify import VERSION, Evidence, Picture, Question, compare_all
from darkroom.embedding.network import LOCAL_DIMENSIONS, PLACES
from darkroom.images.decode import DecodeError, Pixels
from darkroom.images.previews import Place, Previews, read_picture
from darkroom.workers.pool import new_pool, worker_count

# Another library may compute other evidence from the same picture.
MADE_BY = f"{VERSION}-{cv2.getVersionString()}-{version('numpy')}"
PER_TASK = 256  # about a fifth of a second
TASKS_TO_SHARE = 4  # with fewer, starting a worker costs more than it saves
HELD_PICTURES = 1024  # per worker, 0.2 MB each
SECONDS_PER_PART = 5.0  # what a killed run loses
logger = logging.getLogger(__name__)

QUESTION = ["key_a", "key_b"]
EVIDENCE = pa.schema(
    [
        ("key_a", pa.string()),
        ("key_b", pa.string()),
        *((name, pa.int64() if name == "inliers" else pa.float64()) for name in Evidence._fields),
    ]
)


class PairCache:
    """What is known of each pair, kept from run to run: parts on disk, read once."""

    def __init__(self, scratch: Path, kind: str, made_by: str, schema: pa.Schema) -> None:
        """Read what `scratch` holds of this kind; what a broken part held is computed again."""
        self.scratch, self._kind, self._schema = scratch, kind, schema
        self._folder = scratch / f"{kind}-{made_by}"
        self._tables = [schema.empty_table()]
        for path in self._parts():
            try:
                self._tables.append(pq.read_table(path, schema=schema))
            except pa.ArrowInvalid:
                logger.warning("dedupe: %s is broken; what it held is verified again", path)
        self._grown = False

    def table(self) -> pd.DataFrame:
        """Return each pair once."""
        return pa.concat_tables(self._tables).to_pandas().drop_duplicates(QUESTION)

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Keep more rows of the schema, in one more part."""
        frame = pd.DataFrame(rows, columns=self._schema.names)
        self._tables.append(self._as_table(frame))
        self._write(self._tables[-1])
        self._grown = True

    def compact(self, keys: set[str]) -> None:
        """Make one part of all that were added to; drop images that are gone, and older code's."""
        if not self._grown:
            return
        table = self.table()
        table = table[table["key_a"].isin(keys) & table["key_b"].isin(keys)]
        parts = self._parts()
        self._write(self._as_table(table))
        for path in parts:
            path.unlink()
        for old in self.scratch.glob(f"{self._kind}-*"):
            if old != self._folder:
                shutil.rmtree(old)

    def _as_table(self, frame: pd.DataFrame) -> pa.Table:
        return pa.Table.from_pandas(frame, schema=self._schema, preserve_index=False)

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*.parquet"))

    def _write(self, table: pa.Table) -> None:
        last = max((int(path.stem) for path in self._parts()), default=0)
        path = self._folder / f"{last + 1:08d}.parquet"
        with publish(path) as handle:
            pq.write_table(table, handle, compression="zstd")


def evidence_cache(scratch: Path) -> PairCache:
    """Return the evidence that `scratch` holds."""
    return PairCache(scratch, "evidence", MADE_BY, EVIDENCE)


def verify_pairs(
    pictures: Previews,
    embeddings: Path,
    pairs: pd.DataFrame,
    threshold: float,
    engine: EngineParams,
    cache: PairCache,
) -> pd.DataFrame:
    """Return PAIRS: the candidates with their evidence and verdict.

    `embeddings` is the folder in which embed has left the descriptors. Pairs that `cache` holds
    evidence on are not verified again. The result depends neither on that nor on the number of
    workers.
    """
    answered = pairs.merge(cache.table(), "left", QUESTION)
    unknown = answered.loc[answered["inliers"].isna(), [*QUESTION, "normalised"]]
    if len(unknown):
        _verify_unknown(pictures, embeddings, unknown, engine, cache)
        answered = pairs.merge(cache.table(), "left", QUESTION)
    evidence = [Evidence(int(row[0]), *row[1:]) for row in _rows(answered, Evidence._fields)]
    similar = pairs["normalised"].astype(float)
    return as_pairs(
        answered, [decide(n, e, threshold) for n, e in zip(similar, evidence, strict=True)]
    )


def as_pairs(answered: pd.DataFrame, verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return PAIRS: candidates, their evidence, and the verdict on each."""
    return answered.round({"agreement": 6, "ssim": 6, "mse": 6}).assign(
        inliers=answered["inliers"].astype("int64"),
        duplicate=np.array([verdict.duplicate for verdict in verdicts], bool),
        decided_by=[verdict.decided_by for verdict in verdicts],
        related=False,  # until the whole set is known
    )[tables.PAIRS.names]


def _rows(frame: pd.DataFrame, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(frame[name] for name in columns), strict=True)


class Stored(NamedTuple):
    """An image of a pair: where its picture lies, and its row in the file of descriptors."""

    key: str
    place: Place
    row: int


class Comparison(NamedTuple):
    """Two images to compare."""

    a: Stored
    b: Stored
    normalised: float


def _verify_unknown(
    pictures: Previews,
    embeddings: Path,
    unknown: pd.DataFrame,
    engine: EngineParams,
    cache: PairCache,
) -> None:
    """Add the evidence on unknown pairs to the cache, a part every few seconds."""
    descriptors = cache.scratch / "descriptors.bin"
    keys = tables.write_described(
        embeddings, {*unknown["key_a"], *unknown["key_b"]}, "local", PLACES * LOCAL_DIMENSIONS,
        descriptors,
    )  # fmt: skip
    places = pictures.places.loc[keys].itertuples(index=False)
    stored = {
        key: Stored(key, Place(*place), row)
        for row, (key, place) in enumerate(zip(keys, places, strict=True))
    }
    unknown = unknown.iloc[_neighbours_together(unknown)]
    comparisons = [
        Comparison(stored[a], stored[b], float(near))
        for a, b, near in _rows(unknown, [*QUESTION, "normalised"])
    ]
    tasks = [comparisons[i : i + PER_TASK] for i in range(0, len(comparisons), PER_TASK)]
    progress = Progress("dedupe, verify", len(unknown), "pair")
    done: list[tuple[Any, ...]] = []
    added = time.monotonic()
    with map_tasks(engine, len(tasks)) as apply_to_all:
        results = apply_to_all(verify_task, repeat(pictures.root), repeat(descriptors), tasks)
        for task, evidence in zip(tasks, results, strict=True):
            done += [(c.a.key, c.b.key, *e) for c, e in zip(task, evidence, strict=True)]
            progress.advance(len(task))
            if time.monotonic() - added > SECONDS_PER_PART:
                cache.add(done)
                done, added = [], time.monotonic()
    progress.finish()
    cache.add(done)
    descriptors.unlink()


def _neighbours_together(pairs: pd.DataFrame) -> NDArray[np.int64]:
    """Return the order in which pairs of the same pictures are near (Cuthill and McKee 1969)."""
    codes, names = pd.factorize(pd.concat([pairs["key_a"], pairs["key_b"]]), sort=True)
    a, b = codes.reshape(2, -1)
    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(names), len(names))).tocsr()
    place = np.empty(len(names), np.int64)
    place[reverse_cuthill_mckee(links + links.T, symmetric_mode=True)] = np.arange(len(names))
    return np.lexsort((np.maximum(place[a], place[b]), np.minimum(place[a], place[b])))


@contextmanager
def map_tasks(engine: EngineParams, tasks: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Give a `map` that works in worker processes, or here if tasks are few."""
    workers = min(worker_count(engine), tasks)
    if workers <= 1 or tasks < TASKS_TO_SHARE:
        yield map
        return
    with new_pool(workers) as pool:
        yield pool.map


def verify_task(root: Path, descriptors: Path, task: list[Comparison]) -> list[Evidence]:
    """Return the evidence on a run of pairs, in their order."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):  # the workers share the cores already
        local = _mapped(descriptors, descriptors.stat().st_mtime_ns)
        return compare_all(
            [
                Question(
                    _picture(root, local, pair.a), _picture(root, local, pair.b), pair.normalised
                )
                for pair in task
            ]
        )


_held: OrderedDict[tuple[Path, str], Picture] = OrderedDict()  # in each worker


def _picture(root: Path, local: NDArray[np.int8], stored: Stored) -> Picture:
    """Return a picture, perhaps one of those that this worker has had last."""
    key = root, stored.key
    if key not in _held:
        _held[key] = Picture(local[stored.row], partial(read_or_flat, root, stored.place))
        if len(_held) > HELD_PICTURES:
            _held.popitem(last=False)
    _held.move_to_end(key)
    return _held[key]


@cache
def _mapped(descriptors: Path, written: int) -> NDArray[np.int8]:
    return np.memmap(descriptors, np.int8, "r").reshape(-1, PLACES, LOCAL_DIMENSIONS)


def read_or_flat(root: Path, place: Place) -> Pixels:
    """Return a picture's grey; one that does not decode any more is flat, and so nobody's copy."""
    try:
        return read_picture(root, place, grey=True)
    except DecodeError as error:
        logger.warning("dedupe: %s: a picture that embed could read: %s", place, error)
        return np.zeros((8, 8), np.uint8)
