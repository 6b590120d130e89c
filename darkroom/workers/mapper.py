"""The shard mapper: one function over many shards, in worker processes, each result kept.

A part lies at `<out>/<shard>.parquet`, its fingerprint beside it in `<out>/<shard>.json`. A part
whose fingerprint (input members, relevant parameters, code version) holds is not computed again,
so that incremental equals from scratch; where members alone came or went, the function may take
over what the last part says of the others (`task.reusable`). A function may write a shard of its
own beside each part; without it the part does not count.

Each worker process works on one shard at a time. One that
dies (a decoder that crashes, or hangs past `timeout_s`) costs the one image it was at: that key is
passed to the retry of its shard as poisoned, and no other worker notices. What crashed is first
tried alone: a worker may also die because the system ran out of memory, or of damage that an
earlier image did. What asks for too much memory gets a MemoryError.
"""

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from darkroom.core import shards
from darkroom.core.errors import UserError
from darkroom.core.files import write_json
from darkroom.core.params.engine import EngineParams
from darkroom.core.progress import Progress
from darkroom.workers.guard import Watchdog, guarded, read_current
from darkroom.workers.pool import new_pool, worker_count

CRASHED, HUNG = "decoder_crashed", "decoder_hung"  # reasons of poisoned images
SECONDS_PER_CHECK = 0.5  # how often a worker's time at its image is compared with the limit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardTask:
    """One shard to work on; `function(task)` publishes `task.part` and must be importable."""

    folder: Path
    members: pd.DataFrame  # key, shard, offset, size
    part: Path
    settings: Any
    scratch: Path  # holds the file that says which image the worker is at
    poisoned: Mapping[str, str]  # key → reason, of images that killed a worker
    beside: Path | None = None  # the shard to publish before the part
    reusable: bool = False  # whether the last part is of the same settings and code

    @cached_property
    def shard(self) -> str:
        """Return the file name of the shard."""
        return str(self.members["shard"].iloc[0])

    @cached_property
    def current(self) -> Path:
        """Return the file that says which image is being worked on."""
        return self.scratch / f"{self.shard}.current"

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of every member that has not killed a worker."""
        members = self.members[~self.members["key"].isin(list(self.poisoned))]
        places = members[[*shards.Location._fields]].itertuples(index=False, name=None)
        contents = shards.read_members(self.folder, (shards.Location(*place) for place in places))
        yield from zip(members["key"], contents, strict=True)

    def guard(
        self, key: str, timeout_s: float, max_memory_bytes: int | None = None
    ) -> AbstractContextManager[None]:
        """Limit what the work on this image takes: the parent ends the worker after `timeout_s`.

        Within, memory may grow by `max_memory_bytes`; beyond, allocating fails (on Linux).
        """
        return guarded(self.current, key, timeout_s, max_memory_bytes)


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
    beside: Path | None = None,
    again: Collection[str] = (),
) -> None:
    """Bring every part of `out` up to date with the shards of `folder`; drop parts without shard.

    `settings` is passed to the function and, with `version` and the members, makes the fingerprint.
    With `beside`, a folder, the function writes a shard for each part there. `again` are shards
    whose parts are done again though they hold, with all rows that can be reused.
    """
    folders = [out, beside] if beside else [out]
    for path in [*folders, scratch]:
        path.mkdir(parents=True, exist_ok=True)
    todo, wanted = [], set()
    for shard, members in stored.groupby("shard", sort=True):
        part = out / f"{Path(str(shard)).stem}.parquet"
        wanted.add(part.stem)
        task = ShardTask(
            folder, members, part, settings, scratch, {}, beside and beside / str(shard)
        )
        current, reusable = _state(task, version)
        if current and shard not in again:
            progress.advance(len(members))
        else:
            todo.append(replace(task, reusable=reusable))
    for path in [path for folder in folders for path in folder.iterdir()]:
        if path.stem not in wanted:
            path.unlink()
    todo.sort(key=lambda task: -len(task.members))  # the last ones are short: few cores idle
    _run_all(function, todo, worker_count(engine), version, progress)


def fingerprints(task: ShardTask, version: str) -> dict[str, str]:
    """Return the digests that decide whether a part, or rows of it, must be computed again."""
    made_by = json.dumps([repr(task.settings), version])
    return {
        "members": shards.fingerprint(task.members),
        "made_by": hashlib.sha256(made_by.encode()).hexdigest(),
    }


def _state(task: ShardTask, version: str) -> tuple[bool, bool]:
    """Return whether the part is current, and whether its rows are."""
    try:
        known = json.loads(task.part.with_suffix(".json").read_bytes())
        reusable = known["made_by"] == fingerprints(task, version)["made_by"]
        whole = task.part.exists() and (task.beside is None or task.beside.exists())
        return whole and known == fingerprints(task, version), whole and reusable
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # absent, or not as written
        return False, False


def _run_all(
    function: Callable[[ShardTask], None],
    todo: list[ShardTask],
    workers: int,
    version: str,
    progress: Progress,
) -> None:
    """Run every task; the first error that is not a worker's death stops the rest and is raised."""
    if not todo:
        return
    for task in todo:
        _forget(task)  # what a killed run left would blame the wrong image
    waiting = deque(todo)
    count = min(workers, len(todo))
    with ThreadPoolExecutor(count) as threads:
        try:
            work = [
                threads.submit(_work, function, waiting, version, progress) for _ in range(count)
            ]
            for done in as_completed(work):
                done.result()
        finally:
            waiting.clear()


def _work(
    function: Callable[[ShardTask], None],
    waiting: deque[ShardTask],
    version: str,
    progress: Progress,
) -> None:
    """Take tasks and have them done by a process of one's own, so that blame is never shared."""
    process = new_pool(1)
    try:
        while True:
            try:
                task = waiting.popleft()
            except IndexError:
                return
            task.part.with_suffix(".json").unlink(missing_ok=True)  # what is half new is not reused
            suspects: set[str] = set()
            while (death := _await(process, function, task)) is not None:
                process.shutdown()
                process, task = new_pool(1), replace(task, reusable=False)
                key, reason = death
                if reason == HUNG or key in suspects:
                    task = _poison(task, key, reason)
                    continue
                suspects.add(key)
                if _dies_alone(process, function, task, key):
                    process.shutdown()
                    process, task = new_pool(1), _poison(task, key, reason)
            _forget(task)
            write_json(task.part.with_suffix(".json"), fingerprints(task, version))
            progress.advance(len(task.members))
    finally:
        process.shutdown()


def _dies_alone(
    process: ProcessPoolExecutor,
    function: Callable[[ShardTask], None],
    task: ShardTask,
    key: str,
) -> bool:
    """Return whether an image ends a fresh worker that sees no other one."""
    _forget(task)
    members = task.members[task.members["key"] == key]
    part = task.scratch / f"{task.shard}.alone"
    beside = part.with_suffix(".beside")
    alone = replace(task, members=members, part=part, beside=task.beside and beside)
    try:
        return _await(process, function, alone) is not None
    finally:
        for path in (part, beside):
            path.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.truncate(task.current, 0)  # the worker, if it lives, has it open


def _await(
    process: ProcessPoolExecutor, function: Callable[[ShardTask], None], task: ShardTask
) -> tuple[str, str] | None:
    """Have the task done; return the key at which the worker died or hung, and the reason.

    Raises UserError when it died without having begun an image.
    """
    watchdog = Watchdog(task.current)
    try:
        work = process.submit(function, task)
        while not wait([work], SECONDS_PER_CHECK).done:
            if (hung := watchdog.kill_if_hung()) is not None:
                return hung, HUNG
        work.result()
    except BrokenProcessPool:
        current = read_current(task.current)
        if current is not None:
            return current.key, CRASHED
        raise UserError(
            f"{task.shard}: a worker died before its first image, perhaps for want of memory; "
            "lower engine.workers in params.yaml and run again"
        ) from None
    return None


def _poison(task: ShardTask, key: str, reason: str) -> ShardTask:
    """Return the task without the image that ended a worker."""
    _forget(task)
    logger.warning(
        "%s: a worker ended at image %s (%s); it becomes a row and is not retried",
        task.shard, key, reason,
    )  # fmt: skip
    return replace(task, poisoned={**task.poisoned, key: reason})


def _forget(task: ShardTask) -> None:
    task.current.unlink(missing_ok=True)
