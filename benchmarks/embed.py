"""Time the embed stage against fastdup and against decoding plus inference alone, in one run.

    python -m benchmarks.embed FOLDER [--fastdup PYTHON] [--rounds 3] [--copies 1]

FOLDER holds image files; they are put into shards as `download` does. Timed in turn, per round:
`python -m stages.embed` as a whole process with two workers and every worker's memory counted
(proportional set size); decoding to the network's size in two processes; the bundled network in
two processes; with `--fastdup`, a whole run of fastdup by the Python of an environment of its own.
Ratios of one round hold on a busy machine if the load stays; absolute rates do not. The ratio of
processor time, `cpu_share`, is the steadiest. `--copies 10` gives the stage
each image ten times, with distinct bytes, to see that rate and memory stay.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from darkroom.core import shards, tables
from darkroom.embedding.network import Network
from darkroom.images.decode import decode_at_least
from darkroom.images.resize import resize

REPOSITORY = Path(__file__).parents[1]
PROCESSES = 2
SAMPLE = 1500  # images that decoding and inference alone are timed on
FASTDUP = "import fastdup; fastdup.create('{work}', '{images}').run(overwrite=True)"
ISSUE_LIMIT = 2150  # images/s: decoding and MobileNetV3Small on 2 idle cores


def build(root: Path, images: Path, copies: int) -> int:
    """Write shards, index and params.yaml below `root`, and run clean; return the images."""
    rows: list[tuple[str, str, int, int]] = []
    files = iter_files(images, copies)
    for number in range(10**5):
        members = [(f"{shards.key_of(c)}.jpg", c) for c in islice(files, shards.MAX_IMAGES)]
        if not members:
            break
        places = shards.write_shard(root / "data/raw" / shards.shard_name(number), members)
        rows += [(name[:32], *place) for (name, _), place in zip(members, places, strict=True)]
    index = pd.DataFrame(rows, columns=["key", "shard", "offset", "size"])
    index = index.assign(source="benchmark", name=index["key"], status="kept")
    index = index.drop_duplicates("key").reindex(columns=tables.INDEX.names).astype(object)
    index = index.where(index.notna(), None)
    tables.write_table(index, root / "data/raw/index.parquet", tables.INDEX)
    settings = (REPOSITORY / "params.yaml").read_text()
    settings = re.sub(r"(?m)^  workers: \d+", f"  workers: {PROCESSES}", settings)
    (root / "params.yaml").write_text(settings)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    clean = [sys.executable, "-m", "stages.clean"]
    subprocess.run(clean, cwd=root, env=environment, check=True, stderr=subprocess.DEVNULL)
    return len(index)


def iter_files(images: Path, copies: int) -> Iterator[bytes]:
    for copy in range(copies):
        for path in sorted(path for path in images.rglob("*") if path.is_file()):
            yield path.read_bytes() + b"\0" * copy


class StageRun(NamedTuple):
    """What one run of the stage took, all of its processes together."""

    seconds: float
    stated_s: float  # by the stage's closing line: without starting Python and importing
    cpu_s: float
    peak_mb: float


def time_stage(root: Path) -> StageRun:
    """Run the stage from nothing."""
    for folder in ("data/embeddings", ".darkroom"):
        shutil.rmtree(root / folder, ignore_errors=True)
    started, peak, before = time.perf_counter(), 0.0, processor_s()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.embed"],
        cwd=root, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None:
        peak = max(peak, memory_mb(process.pid))
        time.sleep(0.25)
    seconds = time.perf_counter() - started
    words = process.stderr.read() if process.stderr else ""
    found = re.search(r"([\d.]+) s, \d+ images/s", words)  # of the closing line
    if process.returncode or not found:
        sys.exit(f"the stage failed:\n{words}")
    return StageRun(seconds, float(found[1]), processor_s() - before, peak)


def processor_s() -> float:
    """Return the processor time of all ended children."""
    spent = os.times()
    return spent.children_user + spent.children_system


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process and all that it started."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        children += [
            child
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
            if task.name != str(pid)
        ]
    except OSError:  # it has just ended
        return 0.0
    own = re.search(r"Pss:\s+(\d+) kB", rollup)
    return (int(own[1]) / 1e3 if own else 0.0) + sum(memory_mb(int(child)) for child in children)


class Spent(NamedTuple):
    """Wall and processor time of one process."""

    seconds: float
    cpu_s: float


def decode_alone(contents: list[bytes]) -> Spent:
    cv2.setNumThreads(1)
    size = Network().size_px
    started, cpu = time.perf_counter(), time.process_time()
    for content in contents:
        resize(decode_at_least(content, size), size, size)
    return Spent(time.perf_counter() - started, time.process_time() - cpu)


def infer_alone(contents: list[bytes]) -> Spent:
    network = Network()
    shape = (len(contents), network.size_px, network.size_px, 3)
    prepared = list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    started, cpu = time.perf_counter(), time.process_time()
    network.embed(prepared)
    return Spent(time.perf_counter() - started, time.process_time() - cpu)


def run_alone(work: Callable[[list[bytes]], Spent], contents: list[bytes]) -> Spent:
    """Return the longer wall time and the sum of the processor times of two processes at once."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        spent = list(pool.map(work, [contents[i::PROCESSES] for i in range(PROCESSES)]))
    return Spent(max(each.seconds for each in spent), sum(each.cpu_s for each in spent))


def time_fastdup(python: str, images: Path) -> Spent:
    with tempfile.TemporaryDirectory() as work:
        started, before = time.perf_counter(), processor_s()
        code = FASTDUP.format(work=work, images=images)
        subprocess.run(
            [python, "-c", code],
            cwd=work, check=True, capture_output=True, env=os.environ | {"SENTRY_OPT_OUT": "1"},
        )  # fmt: skip
        return Spent(time.perf_counter() - started, processor_s() - before)


def measure(root: Path, folder: Path, count: int, python: str | None) -> dict[str, float]:
    """Return one round's measurements, rates in images per second."""
    contents = list(islice(iter_files(folder, 1), SAMPLE))
    files = sum(1 for _ in iter_files(folder, 1))
    decoding, inference = (run_alone(work, contents) for work in (decode_alone, infer_alone))
    limit = len(contents) / (decoding.seconds + inference.seconds)
    stage = time_stage(root)
    rate = count / stage.seconds
    measured = {
        "decode_alone": len(contents) / decoding.seconds,
        "infer_alone": len(contents) / inference.seconds,
        "limit": limit,
        "embed": rate,
        "embed_without_start": count / stage.stated_s,
        "share_of_limit": rate / limit,
        "cpu_share": (decoding.cpu_s + inference.cpu_s) / len(contents) / (stage.cpu_s / count),
        "share_of_2150": rate / ISSUE_LIMIT,
        "cpu_ms_per_image": stage.cpu_s / count * 1e3,
        "peak_mb": stage.peak_mb,
    }
    if python:
        fastdup = time_fastdup(python, folder)
        measured["fastdup"] = files / fastdup.seconds
        measured["times_fastdup"] = measured["embed"] / measured["fastdup"]
        measured["cpu_times_fastdup"] = (fastdup.cpu_s / files) / (stage.cpu_s / count)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fastdup", metavar="PYTHON", help="of an environment that has fastdup")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        count = build(Path(temporary), given.folder, given.copies)
        rounds = []
        for number in range(given.rounds):
            rounds.append(measure(Path(temporary), given.folder, count, given.fastdup))
            shown = ", ".join(f"{name} {value:.4g}" for name, value in rounds[-1].items())
            load = os.getloadavg()[0]
            print(f"round {number + 1}: {count} images, load {load:.1f}: {shown}", flush=True)
    print(f"\n{'':22}{'median':>10}{'lowest':>10}{'highest':>10}")
    for name in rounds[0]:
        values = [measured[name] for measured in rounds]
        print(f"{name:22}", *(f"{f(values):10.4g}" for f in (statistics.median, min, max)), sep="")


if __name__ == "__main__":
    main()
