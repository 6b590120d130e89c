"""Time the clean stage against cleanvision and against decoding alone; compare their flags.

    python -m benchmarks.clean FOLDER... --cleanvision PYTHON [--rounds 3] [--copies 1]
        [--made 120] [--out FOLDER]

PYTHON is that of an environment of its own with cleanvision 0.3.7. FOLDERs hold image files or tar
shards. For each folder and round, in turn and in an order that alternates:

- cleanvision's whole run by two processes, all of its checks but those for duplicates, which are
  dedupe's work here;
- ours: `python -m stages.clean` from nothing with two workers, the start of Python included. It
  reads the shards that download makes, cleanvision reads files: the rate `with_download` has
  scan and download in it;
- decoding alone: the same files from memory, by the decoder that clean uses (headers and stream
  checked, all of the stream decoded strictly, a JPEG scaled to a short side of 192 px or more), in
  two processes that have started; and once more in full size (`in_full`), as any tool has to
  that looks at every pixel.

Ratios of one round hold while the load stays; those of processor time (`cpu_`, all starts included)
hold on a busy machine as well. `--copies 7` writes each file seven times, with distinct bytes, so
that both start-ups weigh less.

Then the flags, once: on each folder's own files plus `--made` images per flag, made from them
(`benchmarks.synthetic_issues`). What differs goes on contact sheets in `--out`. Last, microseconds
per check.
"""

import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pandas as pd
import yaml

from benchmarks.duplicates import unpack
from benchmarks.embed import PROCESSES, iter_files, run_alone
from benchmarks.flags import compare, differing, join, write_sheet
from benchmarks.processes import REPOSITORY, Took, run
from benchmarks.synthetic_issues import make
from darkroom.checks import borders, colours, exposure, jpeg_quality, scores, sharpness
from darkroom.core import tables
from darkroom.images import decode, previews

MAX_PIXELS = 100_000_000
PER_CHECK = 300  # images that each check is timed on
CLEANVISION = """
import sys
from cleanvision import Imagelab
names = ["dark", "light", "odd_aspect_ratio", "low_information", "blurry", "grayscale", "odd_size"]
if __name__ == "__main__":
    lab = Imagelab(data_path=sys.argv[1])
    lab.find_issues({name: {} for name in names}, n_jobs=int(sys.argv[2]), verbose=False)
    lab.issues.rename_axis("path").to_csv(sys.argv[3])
"""


def run_cleanvision(python: str, files: Path, out: Path) -> Took:
    script = out.with_suffix(".py")
    script.write_text(CLEANVISION)
    environment = [python, str(script), str(files), str(PROCESSES), str(out)]
    return run(environment, out.parent)[0]


def prepare(root: Path, files: Path) -> Took:
    """Run scan and download on `files` in a project of its own; return what they took."""
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["download"]["sources"] = [{"kind": "folder", "path": str(files)}]
    values["engine"]["workers"] = PROCESSES
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    took = [run([sys.executable, "-m", f"stages.{n}"], root)[0] for n in ("scan", "download")]
    return took[0].then(took[1])


def run_clean(root: Path) -> tuple[Took, float]:
    """Run the stage from nothing; return what it took, and the seconds of its closing line."""
    for name in ("data/clean", ".darkroom/clean"):
        shutil.rmtree(root / name, ignore_errors=True)
    took, words = run([sys.executable, "-m", "stages.clean"], root)
    found = re.search(r"([\d.]+) s, \d+ images/s", words)
    return took, float(found[1]) if found else took.seconds


def decode_alone(contents: list[bytes], least: int | None = previews.SIDE_PX) -> Took:
    cv2.setNumThreads(1)
    started, cpu = time.perf_counter(), time.process_time()
    for content in contents:
        decode.read_image(content, MAX_PIXELS, least)
    return Took(time.perf_counter() - started, time.process_time() - cpu)


def decode_whole(contents: list[bytes]) -> Took:
    return decode_alone(contents, None)


def time_round(work: Path, files: Path, python: str, turned: bool) -> dict[str, float]:
    """Return one round's measurements, rates in images per second."""
    contents = list(iter_files(files, 1))
    project = work / "project"
    shutil.rmtree(project, ignore_errors=True)
    done: dict[str, Took] = {}

    def cleanvision() -> None:
        done["cleanvision"] = run_cleanvision(python, files, work / "issues.csv")

    def ours() -> None:
        done["download"] = prepare(project, files)
        done["clean"], stated = run_clean(project)
        done["stated"] = Took(stated, 0)

    def decoding() -> None:
        done["decode"] = run_alone(decode_alone, contents)
        done["decode_whole"] = run_alone(decode_whole, contents)

    steps = [cleanvision, ours, decoding]
    for step in reversed(steps) if turned else steps:
        step()
    clean, decode, other = done["clean"], done["decode"], done["cleanvision"]
    whole = clean.seconds + done["download"].seconds
    return {
        "cleanvision": len(contents) / other.seconds,
        "clean": len(contents) / clean.seconds,
        "clean_without_start": len(contents) / done["stated"].seconds,
        "decode_alone": len(contents) / decode.seconds,
        "times_cleanvision": other.seconds / clean.seconds,
        "times_cleanvision_with_download": other.seconds / whole,
        "cpu_times_cleanvision": other.processor_s / clean.processor_s,
        "share_of_decoding": decode.seconds / clean.seconds,
        "share_of_decoding_in_full": done["decode_whole"].seconds / clean.seconds,
        "share_of_decoding_without_start": decode.seconds / done["stated"].seconds,
        "processor_share_of_decoding": decode.processor_s / clean.processor_s,
    }


def time_all(work: Path, files: Path, python: str, rounds: int) -> None:
    measured = []
    for number in range(rounds):
        measured.append(time_round(work, files, python, turned=number % 2 == 1))
        shown = ", ".join(f"{name} {value:.4g}" for name, value in measured[-1].items())
        print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}: {shown}", flush=True)
    print(f"\n{'':34}{'median':>10}{'lowest':>10}{'highest':>10}")
    for name in measured[0]:
        values = [each[name] for each in measured]
        print(f"{name:34}", *(f"{f(values):10.4g}" for f in (statistics.median, min, max)), sep="")


def compare_flags(work: Path, files: Path, python: str, made: int, out: Path | None) -> None:
    both = work / "both"
    shutil.copytree(files, both / "real")
    make(sorted(path for path in files.rglob("*") if path.is_file()), both / "made", made)
    prepare(work / "flags", both)
    run_clean(work / "flags")
    run_cleanvision(python, both, work / "issues.csv")
    summary = tables.read_table(work / "flags/data/clean/summary.parquet")
    joined = join(summary, pd.read_csv(work / "issues.csv"))
    print(f"\n{len(joined)} distinct images\n{compare(joined).to_string()}")
    differences = differing(joined)
    shown = differences.assign(path=[Path(path).name for path in differences["path"]])
    print(f"\n{shown.to_string(index=False)}" if len(shown) else "\nno flag differs")
    if out and len(differences):
        out.mkdir(parents=True, exist_ok=True)
        write_sheet(differences, out / f"{files.name}.png")


def time_checks(files: Path) -> None:
    """Print the least of five mean times per check, in this process."""
    cv2.setNumThreads(1)
    contents = list(iter_files(files, 1))[:PER_CHECK]
    images = [decode.read_image(content, MAX_PIXELS, previews.SIDE_PX) for content in contents]
    decoded = [image.pixels for image in images]
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in decoded]
    sample = [scores.grid(image) for image in decoded]
    split = [cv2.split(image) for image in sample]
    jpeg = [image.quantization for image in images]
    checks: dict[str, tuple[Callable[..., object], list[object]]] = {
        "decoding": (lambda content: decode_alone([content]), contents),
        "all scores": (scores.score, decoded),
        "grey": (lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), decoded),
        "grid": (scores.grid, decoded),
        "blurry": (sharpness.blurry_score, grey),
        "dark, light, clipped": (exposure.light_scores, sample),
        "low_information": (exposure.information_score, split),
        "colourless": (colours.colour_score, split),
        "colour_cast": (colours.cast_score, sample),
        "uniform_border": (borders.border_score, grey),
        "low_jpeg_quality": (jpeg_quality.jpeg_quality_score, jpeg),
    }  # type: ignore[assignment]
    print("\nmicroseconds per image")
    for name, (check, given) in checks.items():
        times = []
        for _ in range(5):
            started = time.perf_counter()
            for one in given:
                check(one)
            times.append(time.perf_counter() - started)
        print(f"  {name:24}{min(times) / len(given) * 1e6:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cleanvision", required=True, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3, help="0 compares flags alone")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--made", type=int, default=120, help="per flag")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    for number, folder in enumerate(given.folders):
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            files = unpack(folder.resolve(), work / f"{number}_{folder.name}")
            print(f"\n== {folder}: {sum(1 for _ in iter_files(files, 1))} files", flush=True)
            several = files
            if given.copies > 1:
                several = work / "copies"
                several.mkdir()
                for at, content in enumerate(iter_files(files, given.copies)):
                    (several / f"{at:07d}.jpg").write_bytes(content)
            if given.rounds:
                time_all(work, several, given.cleanvision, given.rounds)
            compare_flags(work, files, given.cleanvision, given.made, given.out)
            time_checks(files)


if __name__ == "__main__":
    main()
