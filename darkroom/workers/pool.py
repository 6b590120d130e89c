"""Worker processes that never outlive the process that started them.

They are forked from a server that has imported what its parent has of this library and does
nothing else: imports take most of a second, and are so paid once, not by each worker, nor again
after each that dies. Forking the parent itself is not safe, since it has threads.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_all_start_methods, get_context
from threading import Thread

from darkroom.core.params.engine import EngineParams
from darkroom.workers.cores import available_cores


def worker_count(engine: EngineParams) -> int:
    """Return the number of worker processes: `engine.workers`, or one per core for 0."""
    return engine.workers or available_cores()


def new_pool(workers: int, prepare: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Return a pool of fresh processes; each calls `prepare`, which is importable, first."""
    methods = get_all_start_methods()
    context = get_context("forkserver" if "forkserver" in methods else "spawn")  # Windows: spawn
    own = [name for name in sys.modules if name.partition(".")[0] == "darkroom"]
    context.set_forkserver_preload(own)  # the first call of a process counts
    return ProcessPoolExecutor(workers, context, _start, (prepare, dict(os.environ)))


def _start(prepare: Callable[[], None] | None, environment: dict[str, str]) -> None:
    _die_with_parent()
    os.environ.clear()  # the server has that of the first pool
    os.environ.update(environment)
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
