"""Time each stage, scan to split, on more and more distinct small patches.

    python -m benchmarks.growth FOLDER... [--sizes 16000 64000 200000] [--keep FOLDER]

FOLDERs hold photographs or tar shards of them; they are cut into patches of 64 px that do not
overlap. Each size is a random choice among all, so that they differ in number alone. Printed for
each size and stage: seconds, processor time, microseconds of it per image, and peak memory of all
processes (proportional set size); then the exponent of growth from the first size to the last, of
the clock and of processor time, which other programs on the machine disturb less.
"""

import argparse
import math
import os
import tempfile
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import Took
from benchmarks.whole import run_ours
from darkroom.images.decode import DecodeError, decode
from tools.fit_copy_network import read_photographs

SIDE_PX, QUALITY = 64, 90
SIZES = (16_000, 64_000, 200_000)
PER_FOLDER = 1000  # files


def cut(source: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the patches of every photograph."""
    for _, content in read_photographs(source):
        try:
            image = decode(content)
        except DecodeError:
            continue
        for top in range(0, image.shape[0] - SIDE_PX + 1, SIDE_PX):
            for left in range(0, image.shape[1] - SIDE_PX + 1, SIDE_PX):
                yield image[top : top + SIDE_PX, left : left + SIDE_PX, ::-1]


def write_all(sources: list[Path], folder: Path) -> list[Path]:
    """Write every distinct patch as a file; return their paths."""
    seen, paths = set[bytes](), list[Path]()
    for source in sources:
        for patch in cut(source):
            content = cv2.imencode(".jpg", patch, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
            if content not in seen:
                seen.add(content)
                paths.append(folder / f"{len(paths) // PER_FOLDER:04d}" / f"{len(paths):07d}.jpg")
                paths[-1].parent.mkdir(parents=True, exist_ok=True)
                paths[-1].write_bytes(content)
    return paths


def choose(paths: list[Path], size: int, folder: Path) -> Path:
    """Link a random choice of the files into a folder of its own."""
    for number in np.random.default_rng(0).permutation(len(paths))[:size].tolist():
        target = folder / paths[number].parent.name / paths[number].name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(paths[number], target)
    return folder


def show(name: str, took: Took, images: int) -> None:
    print(f"{name:12}{took.seconds:10.1f}{took.processor_s:10.1f}"
          f"{took.processor_s / images * 1e6:10.0f}{took.peak_mb:9.0f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    totals = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = (given.keep or Path(scratch)).resolve()
        paths = sorted((work / "all").glob("*/*")) or write_all(given.folders, work / "all")
        print(f"{len(paths)} distinct patches")
        for size in (size for size in given.sizes if size <= len(paths)):
            files = work / f"files-{size}"
            took = run_ours(work / f"project-{size}", files if files.exists() else
                            choose(paths, size, files), every_s=0.5)  # fmt: skip
            totals[size] = reduce(Took.then, took.values())
            print(f"\n{size:12,}{'seconds':>10}{'processor':>10}{'us/image':>10}{'peak MB':>9}")
            for name, each in took.items():
                show(name, each, size)
            show("all", totals[size], size)
    if len(totals) > 1:
        first, last = min(totals), max(totals)
        growth = [
            math.log(b / a) / math.log(last / first)
            for a, b in zip(totals[first][:2], totals[last][:2], strict=True)
        ]
        print(
            f"\nexponent of growth: {growth[0]:.3f} by the clock, {growth[1]:.3f} of processor time"
        )


if __name__ == "__main__":
    main()
