"""What 1 % new images cost: scan, download, clean, embed and dedupe, once on all, once on the new.

    python -m benchmarks.incremental FOLDER_OR_SHARDS [--images 10000] [--share 0.01]

The images become files of a temporary project, in which every stage runs as `dvc repro` would start
it, with params.yaml as it is but for the source. Then the rest of the files is added and all run
again; last, from scratch without `.darkroom` and `data`, to see that the tables are the same.
Printed for each stage: seconds by the clock and of processor time (which other programs on the
machine disturb less), in all and without those that Python needs to start and import.
"""

import argparse
import shutil
import sys
import tempfile
from functools import reduce
from itertools import islice
from pathlib import Path

import yaml

from benchmarks.processes import REPOSITORY, Took, run
from tools.fit_copy_network import read_photographs

STAGES = ("scan", "download", "clean", "embed", "dedupe")
TABLES = ("clean/summary", "dedupe/pairs", "dedupe/groups", "dedupe/records")


def less(took: Took, other: Took) -> Took:
    """Return what is left of a run without the other."""
    return Took(*(max(0.0, a - b) for a, b in zip(took[:2], other[:2], strict=True)))


def call(project: Path, *arguments: str) -> Took:
    return run([sys.executable, *arguments], project, every_s=5)[0]


def run_all(project: Path) -> dict[str, Took]:
    return {stage: call(project, "-m", f"stages.{stage}") for stage in STAGES}


def add(project: Path, images: list[tuple[str, bytes]]) -> None:
    folder = project / "photos"
    folder.mkdir(exist_ok=True)
    for name, content in images:
        (folder / f"{name}.jpg").write_bytes(content)


def tables_of(project: Path) -> dict[str, bytes]:
    return {name: (project / "data" / f"{name}.parquet").read_bytes() for name in TABLES}


def show(name: str, first: Took, second: Took) -> None:
    shares = [b / a if a else 0.0 for a, b in zip(first[:2], second[:2], strict=True)]
    print(
        f"{name:24} {first.seconds:8.1f} {second.seconds:8.1f} {shares[0]:7.1%}   "
        f"{first.processor_s:8.1f} {second.processor_s:8.1f} {shares[1]:7.1%}",
        flush=True,
    )


def total(costs: dict[str, Took]) -> Took:
    return reduce(Took.then, costs.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--share", type=float, default=0.01)
    given = parser.parse_args()
    images = list(islice(read_photographs(given.source), given.images))
    new = round(len(images) * given.share)
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch)
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        params["download"]["sources"] = [{"kind": "folder", "path": "photos"}]
        (project / "params.yaml").write_text(yaml.safe_dump(params))
        start = {stage: call(project, "-c", f"import stages.{stage}") for stage in STAGES}
        add(project, images[new:])
        first = run_all(project)
        add(project, images[:new])
        second = run_all(project)
        print(f"{len(images) - new} images, then {new} more: seconds by the clock, of processor")
        for stage in STAGES:
            show(stage, first[stage], second[stage])
        show("all", total(first), total(second))
        bare = [{s: less(cost[s], start[s]) for s in STAGES} for cost in (first, second)]
        for stage in STAGES:
            show(f"{stage}, without start", bare[0][stage], bare[1][stage])
        show("all, without start", total(bare[0]), total(bare[1]))
        grown = tables_of(project)
        for folder in ("data", ".darkroom"):
            shutil.rmtree(project / folder)
        run_all(project)
        print("tables as from scratch:", grown == tables_of(project))


if __name__ == "__main__":
    main()
