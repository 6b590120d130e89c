"""Time the whole run, scan to split, against fastdup, cleanvision and what no tool can go below.

    python -m benchmarks.whole FOLDER [--fastdup PYTHON] [--cleanvision PYTHON] [--runs 3]
        [--keep FOLDER]

FOLDER holds photographs. Four distinct crops are cut from each and brought to 512 px; 5 % copies
are added, of the kinds of benchmarks/copies.py in turn. PYTHONs are those of environments of their
own, with fastdup 2.54 and cleanvision 0.3.7. Timed in turn, in each run:

- ours: each stage as a user's project runs it, in a process of its own, from an empty folder;
- fastdup's and cleanvision's whole run, with their own defaults and all of their checks;
- `start`: the same of each on a dozen files, which is start-up and little else;
- `decode + network`: a JPEG decoded at the scale that the network needs, and the network;
- `limit`: what clean and embed owe each file: sha256, one strict full decode, a preview of 256 px
  encoded, the network. Both in two processes that have started, files in memory.

Printed are seconds, processor time and peak memory (proportional set size of all processes) of the
median run, then ratios of medians with the targets. Ratios hold on a busy machine if the load
stays; those of processor time hold best. `--keep` leaves the set and the project there.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import yaml
from numpy.typing import NDArray

from benchmarks.copies import EASY, HARD, IN_SCENE, Transform, photo_in_photo
from benchmarks.embed import FASTDUP, PROCESSES, run_alone
from benchmarks.processes import REPOSITORY, Took, run
from darkroom.embedding.network import Network
from darkroom.images.resize import resize

STAGES = ("scan", "download", "clean", "embed", "dedupe", "split")
SIDE_PX, PREVIEW_PX = 512, 256
QUALITY = 93  # gives 36 KB a file, as photographs of this size have
COPIES = 20  # of so many crops one has a copy
FEW = 12
KINDS: dict[str, Transform] = {**dict(list(EASY.items())[1:]), **HARD}
CLEANVISION = """
import sys
from cleanvision import Imagelab
if __name__ == "__main__":
    Imagelab(data_path=sys.argv[1]).find_issues(n_jobs=int(sys.argv[2]), verbose=False)
"""


def make_set(source: Path, target: Path) -> int:
    """Write the crops and copies of some as JPEG files below `target`; return how many."""
    target.mkdir(parents=True)
    crops = []
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        if (image := cv2.imread(str(path))) is None:
            continue
        quarters = [q for half in np.array_split(image, 2) for q in np.array_split(half, 2, axis=1)]
        for quarter in quarters:
            crops.append(target / f"{len(crops):05d}.jpg")
            size = (SIDE_PX, SIDE_PX)
            write_jpeg(crops[-1], cv2.resize(quarter, size, interpolation=cv2.INTER_CUBIC))
    kinds = [*KINDS, *IN_SCENE]
    copied = crops[::COPIES]
    for number, path in enumerate(copied):
        kind, image = kinds[number % len(kinds)], cv2.imread(str(path))
        if kind in IN_SCENE:
            scene = cv2.imread(str(crops[(number * COPIES + len(crops) // 2 + 1) % len(crops)]))
            copy = photo_in_photo(image, scene, IN_SCENE[kind], number)
        else:
            copy = KINDS[kind](image)
        write_jpeg(target / f"copy_{number:05d}_{kind}.jpg", np.ascontiguousarray(copy))
    return len(crops) + len(copied)


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    path.write_bytes(encoded.tobytes())


def run_ours(project: Path, files: Path, every_s: float = 0.1) -> dict[str, Took]:
    """Run every stage in an empty project."""
    shutil.rmtree(project, ignore_errors=True)
    shutil.copytree(REPOSITORY / "stages", project / "stages")  # which scan digests
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["download"]["sources"] = [{"kind": "folder", "path": str(files)}]
    values["train"]["task"] = "none"
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    return {s: run([sys.executable, "-m", f"stages.{s}"], project, every_s)[0] for s in STAGES}


def run_peers(work: Path, files: Path, fastdup: str | None, cleanvision: str | None) -> dict:
    """Run the peers that there are."""
    took = {}
    if fastdup:
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            code = FASTDUP.format(work=scratch, images=files)
            took["fastdup"] = run([fastdup, "-c", code], work)[0]
    if cleanvision:
        script = work / "cleanvision_run.py"
        script.write_text(CLEANVISION)
        took["cleanvision"] = run([cleanvision, str(script), str(files), str(PROCESSES)], work)[0]
    return took


def scaled(contents: list[bytes]) -> Took:
    """Return what it takes to decode at the network's scale, and of the network."""
    cv2.setNumThreads(1)
    network = Network()
    size, started, cpu = network.size_px, time.perf_counter(), time.process_time()
    for start in range(0, len(contents), 64):
        network.embed(
            [
                resize(simplejpeg.decode_jpeg(c, min_height=size, min_width=size), size, size)
                for c in contents[start : start + 64]
            ]
        )
    return Took(time.perf_counter() - started, time.process_time() - cpu)


def limit(contents: list[bytes]) -> Took:
    """Return what it takes to do to each file what must be done."""
    cv2.setNumThreads(1)
    network = Network()
    size, started, cpu = network.size_px, time.perf_counter(), time.process_time()
    for start in range(0, len(contents), 64):
        prepared = []
        for content in contents[start : start + 64]:
            hashlib.sha256(content).hexdigest()
            image = simplejpeg.decode_jpeg(content, strict=True)
            scale = PREVIEW_PX / min(image.shape[:2])
            preview = resize(image, round(image.shape[1] * scale), round(image.shape[0] * scale))
            simplejpeg.encode_jpeg(preview, quality=90)
            prepared.append(resize(preview, size, size))
        network.embed(prepared)
    return Took(time.perf_counter() - started, time.process_time() - cpu)


def measure(work: Path, files: Path, few: Path, peers: tuple[str | None, str | None]) -> dict:
    """Return what each part of one run took."""
    took = {}
    for title, folder in (("", files), ("start of ", few)):
        ours = run_ours(work / f"project{'-few' * bool(title)}", folder)
        if not title:
            took |= ours
        total = Took(0, 0, 0)
        for stage in ours.values():
            total = total.then(stage)
        took[f"{title}ours"] = total
        took |= {f"{title}{name}": t for name, t in run_peers(work, folder, *peers).items()}
    contents = [path.read_bytes() for path in sorted(files.iterdir())]
    took["decode + network"] = run_alone(scaled, contents)
    took["limit"] = run_alone(limit, contents)
    return took


def report(runs: list[dict[str, Took]], images: int) -> None:
    """Print the medians and their ratios."""
    print(f"\n{'median of ' + str(len(runs)):24}{'seconds':>9}{'images/s':>10}{'processor':>11}"
          f"{'peak MB':>9}{'ms/image':>10}")  # fmt: skip
    median = {
        name: Took(*(statistics.median(run[name][i] for run in runs) for i in range(3)))
        for name in runs[0]
    }
    for name, took in median.items():
        print(f"{name:24}{took.seconds:9.1f}{images / took.seconds:10.0f}{took.processor_s:11.1f}"
              f"{took.peak_mb:9.0f}{took.seconds / images * 1e3:10.2f}")  # fmt: skip
    ours = median["ours"]
    targets = [("fastdup", 4.0), ("cleanvision", None), ("decode + network", None), ("limit", None)]
    print(f"\n{'':32}{'wall':>8}{'processor':>11}")
    for name, target in targets:
        if name in median:
            show(f"{name} / ours", median[name], ours, f"at least {target}" if target else "")
    if {"fastdup", "cleanvision"} <= set(median):
        both = median["fastdup"].then(median["cleanvision"])
        show("fastdup, then cleanvision / ours", both, ours, "at least 10")
    show("ours / limit", ours, median["limit"], "at most 3")
    print(f"{'peak memory, MB':32}{ours.peak_mb:8.0f}{'':11}  at most 1500")
    each = median["dedupe"].seconds / images * 1e3
    print(f"{'dedupe, ms/image':32}{each:8.2f}{'':11}  at most 1.5")


def show(name: str, above: Took, below: Took, target: str) -> None:
    ratios = (above.seconds / below.seconds, above.processor_s / below.processor_s)
    print(f"{name:32}{ratios[0]:8.2f}{ratios[1]:11.2f}  {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fastdup", metavar="PYTHON")
    parser.add_argument("--cleanvision", metavar="PYTHON")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (given.keep or Path(scratch)).resolve()
        files, few = work / "files", work / "few"
        if not files.exists():
            make_set(given.folder, files)
        few.mkdir(exist_ok=True)
        for path in sorted(files.iterdir())[:FEW]:
            shutil.copy(path, few / path.name)
        sizes = [path.stat().st_size for path in files.iterdir()]
        print(f"{len(sizes)} files, {np.mean(sizes) / 1e3:.1f} KB each", flush=True)
        runs = []
        for number in range(given.runs):
            runs.append(measure(work, files, few, (given.fastdup, given.cleanvision)))
            shown = {name: round(took.seconds, 1) for name, took in runs[-1].items()}
            print(
                f"run {number + 1}, load {os.getloadavg()[0]:.1f}: {json.dumps(shown)}", flush=True
            )
        report(runs, len(sizes))


_Raw = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    main()
