"""Run a command and say what it took, with every process that it started."""

import contextlib
import ctypes
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


class Took(NamedTuple):
    """What one run took."""

    seconds: float
    processor_s: float  # of all cores together
    peak_mb: float = 0.0  # proportional set size of all processes

    def then(self, other: "Took") -> "Took":
        """Return both, one after the other."""
        seconds, processor = (a + b for a, b in zip(self[:2], other[:2], strict=True))
        return Took(seconds, processor, max(self.peak_mb, other.peak_mb))


def run(command: list[str], folder: Path, every_s: float = 0.1) -> tuple[Took, str]:
    """Run a command to its end; return what it took, and what it said.

    Exits with what it said where it fails.
    """
    if sys.platform == "linux":  # processor time of what outlives the command counts as well
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    others = set(children_of(os.getpid()))
    started, before, peak = time.perf_counter(), processor_s(), 0.0
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "SENTRY_OPT_OUT": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, env=environment)
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(every_s)
                break
            peak = max(peak, memory_mb(process.pid))
        seconds = time.perf_counter() - started
        for orphan in set(children_of(os.getpid())) - others:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, 0)
        said.seek(0)
        words = said.read()
    if process.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{words[-3000:]}")
    return Took(seconds, processor_s() - before, peak), words


def processor_s() -> float:
    """Return the processor time of all ended children."""
    spent = os.times()
    return spent.children_user + spent.children_system


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process and all that it started."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = children_of(pid)
    except OSError:  # it has just ended
        return 0.0
    own = re.search(r"Pss:\s+(\d+) kB", rollup)
    return (int(own[1]) / 1e3 if own else 0.0) + sum(map(memory_mb, children))


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started, or adopted; none where Linux does not say."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]
