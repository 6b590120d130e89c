"""kill -9 at random moments of download and of clean, then a rerun: the bytes must be the same.

    python -m benchmarks.kills [--kills 30] [--images 400] [--seed 17]

A local server gives photographs, and, between them, the troubles of `tests/trouble.py`. Shards hold
50 images, so that a run makes several. Each trial starts a stage in a process group of its own,
kills the group at a moment drawn uniformly from the time that the stage takes undisturbed, one
trial in three twice, runs the stage to its end and compares every file below data/raw, data/clean
and metrics with those of the undisturbed run. A trial that was over before its last kill does not
count. The seed is printed; what differs is named, and the exit status is 1.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import yaml

from benchmarks.download import make_bases
from tests.trouble import Trouble, serving

REPOSITORY = Path(__file__).parents[1]
PER_SHARD = 50
TROUBLES = ("gone", "short", "break", "moved", "noai", "gzip-bomb", "flaky", "html-as-jpeg",
            "reset", "later-unsaid")  # fmt: skip
STAGE = """
import sys
from pathlib import Path
from stages.lib import shards
shards.MAX_IMAGES = {per_shard}
from stages.lib.params import load_params
from stages import {stage}
if __name__ == "__main__":
    {stage}.run(Path.cwd(), load_params(Path.cwd()))
"""


class Site(Trouble):
    """Photographs by number, after some milliseconds as of a network; other paths are trouble."""

    bases: ClassVar[list[bytes]] = []

    def good(self) -> None:
        """Answer with a photograph."""
        time.sleep(0.02)
        digits = "".join(filter(str.isdigit, self.path)) or "0"
        self.answer(200, self.bases[int(digits) % len(self.bases)] + digits.encode(),
                    {"ETag": f'"{digits}"'})  # fmt: skip


def make_project(folder: Path, address: str, images: int) -> None:
    paths = [f"{number}.jpg" for number in range(images)]
    for number, trouble in enumerate(TROUBLES):
        paths.insert(number * images // len(TROUBLES), trouble)
    folder.mkdir()
    (folder / "urls.txt").write_text("".join(f"{address}/{path}\n" for path in paths))
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["download"] |= {
        "sources": [{"kind": "list", "path": "urls.txt"}], "allow_private_hosts": True,
        "retries": 1, "timeout_s": 5, "max_file_bytes": 2**20,
    }  # fmt: skip
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in ("download", "clean"):
        code = STAGE.format(stage=stage, per_shard=PER_SHARD)
        (folder / f"run_{stage}.py").write_text(code)


def start(folder: Path, stage: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, f"run_{stage}.py"], cwd=folder, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(folder: Path, stage: str) -> float:
    """Run a stage to its end; return the seconds."""
    started, process = time.perf_counter(), start(folder, stage)
    words, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{stage} ended with {process.returncode}:\n{words.decode()}")
    return time.perf_counter() - started


def kill_after(folder: Path, stage: str, seconds: float) -> bool:
    """Start a stage and kill it; return whether it was still at work."""
    process = start(folder, stage)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    process.communicate()
    return False


def results(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for top in ("data", "metrics")
        for path in sorted((folder / top).rglob("*"))
        if path.is_file()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seed", type=int, default=17)
    given = parser.parse_args()
    draw, different = random.Random(given.seed), 0
    Site.bases = make_bases()
    with tempfile.TemporaryDirectory() as scratch, serving(Site) as server:
        whole, trial = Path(scratch) / "undisturbed", Path(scratch) / "trial"
        make_project(whole, server.url, given.images)
        for stage in ("download", "clean"):
            ready = Path(scratch) / f"before-{stage}"
            shutil.copytree(whole, ready)
            server.seen.clear()
            length = finish(whole, stage)
            expected, trials, kills = results(whole), 0, 0
            print(f"{stage}: {length:.1f} s undisturbed, {len(expected)} files, seed {given.seed}")
            while trials < given.kills:
                shutil.rmtree(trial, ignore_errors=True)
                shutil.copytree(ready, trial)
                moments = [draw.uniform(0, length) for _ in range(1 + (trials % 3 == 0))]
                killed = []
                for moment in moments:
                    server.seen.clear()
                    killed.append(kill_after(trial, stage, moment))
                if not killed[-1]:
                    length *= 0.97  # the machine is less busy than it was
                    continue
                trials, kills = trials + 1, kills + sum(killed)
                server.seen.clear()
                finish(trial, stage)
                found = results(trial)
                names = expected.keys() | found.keys()
                wrong = [name for name in names if expected.get(name) != found.get(name)]
                different += bool(wrong)
                if wrong:
                    at = ", ".join(f"{moment:.2f} s" for moment in moments)
                    print(f"  killed at {at}: {', '.join(sorted(wrong))} differ", flush=True)
            print(f"{stage}: {kills} kills in {trials} trials", flush=True)
            shutil.rmtree(trial)
    print(f"trials that ended with other bytes: {different}")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
