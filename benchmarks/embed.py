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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.processes import REPOSITORY, Took, run
from darkroom.core import shards, tables
from darkroom.embedding.network import Network
from darkroom.images.decode import decode
from darkroom.images.resize import resize

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
    run([sys.executable, "-m", "stages.clean"], root)
    return len(index)


def iter_files(images: Path, copies: int) -> Iterator[bytes]:
    for copy in range(copies):
        for path in sorted(path for path in images.rglob("*") if path.is_file()):
            yield path.read_bytes() + b"\0" * copy


def time_stage(root: Path) -> tuple[Took, float]:
    """Run the stage from nothing; return also the seconds of its closing line, without start-up."""
    for folder in ("data/embeddings", ".darkroom"):
        shutil.rmtree(root / folder, ignore_errors=True)
    took, words = run([sys.executable, "-m", "stages.embed"], root)
    found = re.search(r"([\d.]+) s, \d+ images/s", words)
    return took, float(found[1]) if found else took.seconds


def decode_alone(contents: list[bytes]) -> Took:
    cv2.setNumThreads(1)
    size = Network().size_px
    started, cpu = time.perf_counter(), time.process_time()
    for content in contents:
        resize(decode(content, min_side=size), size, size)
    return Took(time.perf_counter() - started, time.process_time() - cpu)


def infer_alone(contents: list[bytes]) -> Took:
    network = Network()
    shape = (len(contents), network.size_px, network.size_px, 3)
    prepared = list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    started, cpu = time.perf_counter(), time.process_time()
    network.embed(prepared)
    return Took(time.perf_counter() - started, time.process_time() - cpu)


def run_alone(work: Callable[[list[bytes]], Took], contents: list[bytes]) -> Took:
    """Return the longer wall time and the sum of the processor times of two processes at once."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        spent = list(pool.map(work, [contents[i::PROCESSES] for i in range(PROCESSES)]))
    return Took(max(each.seconds for each in spent), sum(each.processor_s for each in spent))


def time_fastdup(python: str, images: Path) -> Took:
    with tempfile.TemporaryDirectory() as work:
        return run([python, "-c", FASTDUP.format(work=work, images=images)], Path(work))[0]


def measure(root: Path, folder: Path, count: int, python: str | None) -> dict[str, float]:
    """Return one round's measurements, rates in images per second."""
    contents = list(islice(iter_files(folder, 1), SAMPLE))
    files = sum(1 for _ in iter_files(folder, 1))
    decoding, inference = (run_alone(work, contents) for work in (decode_alone, infer_alone))
    limit = len(contents) / (decoding.seconds + inference.seconds)
    stage, stated_s = time_stage(root)
    rate = count / stage.seconds
    alone_s = decoding.processor_s + inference.processor_s
    measured = {
        "decode_alone": len(contents) / decoding.seconds,
        "infer_alone": len(contents) / inference.seconds,
        "limit": limit,
        "embed": rate,
        "embed_without_start": count / stated_s,
        "share_of_limit": rate / limit,
        "cpu_share": (alone_s / len(contents)) / (stage.processor_s / count),
        "share_of_2150": rate / ISSUE_LIMIT,
        "cpu_ms_per_image": stage.processor_s / count * 1e3,
        "peak_mb": stage.peak_mb,
    }
    if python:
        fastdup = time_fastdup(python, folder)
        measured["fastdup"] = files / fastdup.seconds
        measured["times_fastdup"] = measured["embed"] / measured["fastdup"]
        measured["cpu_times_fastdup"] = (fastdup.processor_s / files) / (stage.processor_s / count)
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
