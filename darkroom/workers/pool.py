"""Worker processes that never outlive the process that started them."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context
from threading import Thread

from darkroom.core.params.engine import EngineParams
from darkroom.workers.cores import available_cores


def worker_count(engine: EngineParams) -> int:
    """Return the number of worker processes: `engine.workers`, or one per core for 0."""
    return engine.workers or available_cores()


def new_pool(workers: int, prepare: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Return a pool of fresh processes; each calls `prepare`, which is importable, first."""
    return ProcessPoolExecutor(workers, get_context("spawn"), _start, (prepare,))


def _start(prepare: Callable[[], None] | None) -> None:
    _die_with_parent()
    if prepare is not None:
        prepare()


def _die_with_parent() -> None:
    """End this worker when the stage is killed: an orphan would go on writing beside its rerun."""
    parent = get_context().parent_process()
    if parent is not None:
        Thread(target=_wait_and_exit, args=(parent.sentinel,), daemon=True).start()


def _wait_and_exit(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
