"""The shard mapper: one function over many shards, in worker processes, each result kept.

A part lies at `<out>/<shard>.parquet`, its fingerprint beside it in `<out>/<shard>.json`. A part
whose fingerprint (input members, relevant parameters, code version) holds is not computed again,
so that incremental equals from scratch. A worker that dies (a decoder that crashes or hangs past
`timeout_s`) costs the one image it was at: that key is passed to the retry as poisoned.
"""

import faulthandler
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from stages.lib import shards
from stages.lib.files import write_json
from stages.lib.params import EngineParams
from stages.lib.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardTask:
    """One shard to work on; `function(task)` publishes `task.part` and must be importable."""

    folder: Path
    members: pd.DataFrame  # key, shard, offset, size
    part: Path
    settings: Any
    scratch: Path  # holds the key that the worker is at
    poisoned: Mapping[str, str]  # key → reason, of images that killed a worker

    @property
    def shard(self) -> str:
        """Return the file name of the shard."""
        return str(self.members["shard"].iloc[0])

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of every member that has not killed a worker."""
        with (self.folder / self.shard).open("rb") as handle:
            for row in self.members.itertuples():
                if row.key not in self.poisoned:
                    handle.seek(int(row.offset))
                    yield str(row.key), handle.read(int(row.size))


@contextmanager
def guarded(task: ShardTask, key: str, timeout_s: float) -> Iterator[None]:
    """Note which image is being worked on, and end this worker if it takes over `timeout_s`."""
    current = task.scratch / f"{task.shard}.current"
    current.write_text(key)
    in_worker = get_context().parent_process() is not None
    if in_worker:
        # The watchdog is a C thread: it fires even while a decoder holds the interpreter lock.
        faulthandler.dump_traceback_later(timeout_s, exit=True, file=_devnull())
    try:
        yield
    finally:
        if in_worker:
            faulthandler.cancel_dump_traceback_later()


def map_shards(
    function: Callable[[ShardTask], None],
    stored: pd.DataFrame,
    folder: Path,
    out: Path,
    scratch: Path,
    settings: Any,
    version: str,
    engine: EngineParams,
    progress: Progress,
) -> None:
    """Bring every part of `out` up to date with the shards of `folder`; drop parts without shard.

    `settings` is passed to the function and, with `version` and the members, makes the fingerprint.
    """
    out.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    todo, wanted = [], set()
    for shard, members in stored.groupby("shard", sort=True):
        part = out / f"{Path(str(shard)).stem}.parquet"
        wanted.add(part.stem)
        task = ShardTask(folder, members, part, settings, scratch, {})
        if _is_current(task, version):
            progress.advance(len(members))
        else:
            todo.append(task)
    for path in out.iterdir():
        if path.stem not in wanted:
            path.unlink()
    _run_all(function, todo, worker_count(engine), version, progress)


def worker_count(engine: EngineParams) -> int:
    """Return the number of worker processes: `engine.workers`, or one per core for 0."""
    return engine.workers or len(os.sched_getaffinity(0))


def fingerprint(task: ShardTask, version: str) -> str:
    """Return the digest that decides whether a part must be computed again."""
    text = json.dumps([shards.fingerprint(task.members), repr(task.settings), version])
    return hashlib.sha256(text.encode()).hexdigest()


def _is_current(task: ShardTask, version: str) -> bool:
    note = task.part.with_suffix(".json")
    if not (note.exists() and task.part.exists()):
        return False
    return bool(json.loads(note.read_text())["fingerprint"] == fingerprint(task, version))


def _run_all(
    function: Callable[[ShardTask], None],
    todo: list[ShardTask],
    workers: int,
    version: str,
    progress: Progress,
) -> None:
    if not todo:
        return
    while todo:
        failed: list[ShardTask] = []
        with ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn")) as pool:
            running = {pool.submit(function, task): task for task in todo}
            for task in _finished(running, failed):
                write_json(
                    task.part.with_suffix(".json"), {"fingerprint": fingerprint(task, version)}
                )
                progress.advance(len(task.members))
        todo = [_poison(task) for task in failed]


def _finished(
    running: dict[Future[None], ShardTask], failed: list[ShardTask]
) -> Iterable[ShardTask]:
    for future in as_completed(running):
        try:
            future.result()
        except BrokenProcessPool:
            failed.append(running[future])
        else:
            current = running[future].scratch / f"{running[future].shard}.current"
            current.unlink(missing_ok=True)
            yield running[future]


def _poison(task: ShardTask) -> ShardTask:
    """Blame the image that the worker was at; a shard that had not begun is just retried."""
    current = task.scratch / f"{task.shard}.current"
    if not current.exists():
        return task
    key = current.read_text()
    current.unlink()
    logger.warning(
        "%s: a worker died at image %s; it becomes a row and is not retried", task.shard, key
    )
    return replace(task, poisoned={**task.poisoned, key: "decoder_crashed"})


@cache
def _devnull() -> Any:
    return Path(os.devnull).open("w")  # noqa: SIM115  # lives as long as the watchdog
