"""kill -9 at random moments of download, clean and train, then a rerun: the same bytes must result.

    python -m benchmarks.kills [--stages train] [--kills 30] [--images 400] [--seed 17]

A local server gives photographs, and, between them, what `tests/sources/hostile_server.py` gives.
Shards hold 50 images, so that a run makes several. Each trial starts a stage in a process group of
its own, kills the group at a moment drawn uniformly from the time that the stage takes
undisturbed, one trial in three twice, runs the stage to its end and compares every file below
data/raw, data/clean and metrics with those of the undisturbed run. A trial that was over before its
last kill does not count. Train learns two classes of small pictures and is killed in turn while it
extracts features (in parts of 4 images), in the head's epochs and in fine-tuning, one trial in
three once more at a random moment. The seed is printed; what differs is named, and the exit status
is 1.
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
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import yaml

from benchmarks.download import make_bases
from darkroom.images.decode import decode
from tests.sources.hostile_server import Hostile, serving
from tests.stages.test_train import write_data

REPOSITORY = Path(__file__).parents[1]
STAGES = ("download", "clean", "train")
PHASES = ("extraction", "head", "fine_tune")  # of train
SHARDS = "from darkroom.core import shards; shards.MAX_IMAGES = 50"
SLOW_FEATURES = """
import time
from darkroom.models.training import features
views, features.PART_IMAGES = features.inference_views, 4
features.inference_views = lambda *given: lambda i: time.sleep(0.05) or views(*given)(i)
"""
FAULTY_PATHS = ("gone", "short", "break", "moved", "noai", "gzip-bomb", "flaky", "html-as-jpeg",
            "reset", "later-unsaid")  # fmt: skip
STAGE = """
import sys
from pathlib import Path
{smaller}
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from stages import {stage}
if __name__ == "__main__":
    {stage}.run(Path.cwd(), load_params(Path.cwd(), Params))
"""


class Site(Hostile):
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
    for number, path in enumerate(FAULTY_PATHS):
        paths.insert(number * images // len(FAULTY_PATHS), path)
    folder.mkdir()
    (folder / "urls.txt").write_text("".join(f"{address}/{path}\n" for path in paths))
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["download"] |= {
        "sources": [{"kind": "list", "path": "urls.txt"}], "allow_private_hosts": True,
        "retries": 1, "timeout_s": 5, "max_file_bytes": 2**20,
    }  # fmt: skip
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in ("download", "clean"):
        code = STAGE.format(stage=stage, smaller=SHARDS)
        (folder / f"run_{stage}.py").write_text(code)


def make_training(folder: Path) -> None:
    """Make two classes of small pictures and a training that is over in seconds."""
    pictures = [
        decode(base)[top : top + 96, left : left + 96]
        for base in Site.bases for top, left in ((0, 0), (0, 96), (96, 0), (96, 96))
    ]  # fmt: skip
    write_data(folder, pictures, {"train": 48, "validation": 16}, label=["sharp", "blurred"])
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["train"] |= {
        "task": "classification", "image_size": 32, "batch_size": 8,
        "epochs": {"head": 8, "fine_tune": 8},
        "augment": [{"layer": "RandomRotation", "factor": 0.1}],
    }  # fmt: skip
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "run_train.py").write_text(STAGE.format(stage="train", smaller=SLOW_FEATURES))


class Places:
    """Where the undisturbed run is, what it started from, and where a trial is."""

    def __init__(self, whole: Path) -> None:
        """Keep a copy of the folder `whole` as it is now."""
        self.whole, self.ready, self.trial = whole, whole.parent / "ready", whole.parent / "trial"
        shutil.rmtree(self.ready, ignore_errors=True)
        shutil.copytree(whole, self.ready)

    def renew_trial(self) -> None:
        """Start a trial from that copy."""
        shutil.rmtree(self.trial, ignore_errors=True)
        shutil.copytree(self.ready, self.trial)


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
    return kill(start(folder, stage), seconds)


def kill(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a process and its children after so long; return whether it was still at work."""
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


def trials_by_time(
    stage: str,
    given: argparse.Namespace,
    places: Places,
    draw: random.Random,
    reset: Callable[[], None],
) -> int:
    """Kill `stage` at moments of the time that it takes; return the trials with other bytes."""
    length = finish(places.whole, stage)
    expected, trials, kills, different = results(places.whole), 0, 0, 0
    print(f"{stage}: {length:.1f} s undisturbed, {len(expected)} files, seed {given.seed}")
    while trials < given.kills:
        places.renew_trial()
        moments = [draw.uniform(0, length) for _ in range(1 + (trials % 3 == 0))]
        killed = []
        for moment in moments:
            reset()
            killed.append(kill_after(places.trial, stage, moment))
        if not killed[-1]:
            length *= 0.97  # the machine is less busy than it was
            continue
        trials, kills = trials + 1, kills + sum(killed)
        reset()
        finish(places.trial, stage)
        at = ", ".join(f"{moment:.2f} s" for moment in moments)
        different += differs(expected, places.trial, at)
    print(f"{stage}: {kills} kills in {trials} trials", flush=True)
    return different


def trials_by_phase(given: argparse.Namespace, places: Places, draw: random.Random) -> int:
    """Kill train in each of its phases in turn; return the trials with other bytes.

    Most of a small training is TensorFlow's start, so that a moment of the whole would seldom meet
    a phase. The moment is drawn from the time that the phase takes instead.
    """
    process, began = start(places.whole, "train"), dict.fromkeys(PHASES, 0.0)
    while process.poll() is None:
        for phase in PHASES:
            if not began[phase] and has_begun(phase, places.whole):
                began[phase] = time.perf_counter()
        time.sleep(0.002)
    moments = [*began.values(), time.perf_counter()]
    lengths = dict(zip(PHASES, np.diff(moments).tolist(), strict=True))
    words, _ = process.communicate()
    if process.returncode:
        sys.exit(f"train ended with {process.returncode}:\n{words.decode()}")
    expected, kills, different = results(places.whole), dict.fromkeys(PHASES, 0), 0
    took = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in lengths.items())
    print(f"train: {took}, {len(expected)} files, seed {given.seed}", flush=True)
    while sum(kills.values()) < given.kills:
        places.renew_trial()
        phase = PHASES[sum(kills.values()) % len(PHASES)]
        moment = draw.uniform(0, lengths[phase])
        if not kill_in(places.trial, phase, moment):
            lengths[phase] *= 0.97
            continue
        kills[phase] += 1
        if sum(kills.values()) % 3 == 0:  # once more, wherever the second process is by then
            kill_after(places.trial, "train", draw.uniform(0, sum(lengths.values())))
        finish(places.trial, "train")
        different += differs(expected, places.trial, f"{moment:.2f} s of {phase}")
    print(f"train: kills {kills}", flush=True)
    return different


def has_begun(phase: str, folder: Path) -> bool:
    """Tell from what train has left whether it came so far."""
    if phase == "extraction":
        return (folder / ".darkroom/train/features").exists()
    live = folder / "metrics/live/metrics.json"
    return live.exists() and f'"{phase}"' in live.read_text()


def kill_in(folder: Path, phase: str, seconds: float) -> bool:
    """Kill train so long after a phase began; return whether it was still at work."""
    process = start(folder, "train")
    while process.poll() is None and not has_begun(phase, folder):
        time.sleep(0.002)
    return kill(process, seconds)


def differs(expected: dict[str, bytes], folder: Path, when: str) -> bool:
    """Compare the results in `folder`, and name those that are others than expected."""
    found = results(folder)
    names = expected.keys() | found.keys()
    wrong = sorted(name for name in names if expected.get(name) != found.get(name))
    if wrong:
        print(f"  killed at {when}: {', '.join(wrong)} differ", flush=True)
    return bool(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    given = parser.parse_args()
    draw, different = random.Random(given.seed), 0
    Site.bases = make_bases()
    with tempfile.TemporaryDirectory() as scratch, serving(Site) as server:
        fetched, trained = Path(scratch) / "fetched", Path(scratch) / "trained"
        make_project(fetched, server.url, given.images)
        for stage in ("download", "clean"):
            if stage in given.stages:
                places = Places(fetched)
                different += trials_by_time(stage, given, places, draw, server.seen.clear)
            elif stage == "download" and "clean" in given.stages:
                finish(fetched, stage)
        if "train" in given.stages:
            make_training(trained)
            different += trials_by_phase(given, Places(trained), draw)
    print(f"trials that ended with other bytes: {different}")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
