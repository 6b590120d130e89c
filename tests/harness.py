"""What the tests that start real processes share: small data, small settings, an environment."""

import contextlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path
from typing import get_type_hints

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageFilter

from darkroom.commands.main import app
from darkroom.core import shards, tables
from darkroom.core.script import run_as_script
from darkroom.embedding.embed import load_network
from darkroom.embedding.network import BUNDLED
from darkroom.images.decode import DecodeError, decode
from darkroom.labels.decisions import REVIEW, write_decisions
from darkroom.sources.store.purged import PURGED, write_purged

REPOSITORY = Path(__file__).parents[1]
PARAMS = REPOSITORY / "tests/params.yaml"
PATIENCE_S = 1200  # only what hangs takes so long, however busy the machine is


def read_tar(path):
    """Return every member of a small shard by name, as any tar reader sees it."""
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def write_embeddings(path, keys, pictures):
    """Write the part of embeddings that holds these pictures."""
    network = load_network(BUNDLED)
    vectors, *described = network.embed([network.prepare(picture) for picture in pictures])
    part = pd.DataFrame({"key": keys, "reason": None, "embedding": list(vectors)})
    for name, column in zip(tables.DESCRIBED, described, strict=True):
        part[name] = [each.tobytes() for each in column]
    tables.write_table(part, path, tables.embeddings_schema(network.dimensions))


def damage(root, places):
    """Overwrite the members of shards that lie at `folder`, `shard`, `offset`, `size`."""
    for folder, shard, offset, size in places[["folder", "shard", "offset", "size"]].values:
        with (root / folder / shard).open("r+b") as handle:
            handle.seek(offset)
            handle.write(b"x" * size)


def damage_raw(root, *keys):
    """Overwrite the original bytes of some keys."""
    stored = shards.stored(tables.read_table(root / "data/raw/index.parquet"))
    damage(root, stored[stored["key"].isin(keys)].assign(folder="data/raw"))


def write_rated(folder, patches):
    """Write `patches` as JPEG with `ratings.csv`: every second one is blurred and rated low."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["name,mean,std"]
    for number, patch in enumerate(patches):
        image, good = Image.fromarray(patch), number % 2 == 0
        if not good:
            image = image.filter(ImageFilter.GaussianBlur(3))
        image.save(folder / f"{number:03d}.jpg", quality=92)
        mean = (6.5 if good else 2.5) + (number % 5) * 0.4
        lines.append(f"{number:03d}.jpg,{mean:.1f},1.2")
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")


def write_bad_company(folder):
    """Add an exact copy of 000.jpg, a recompressed 002.jpg, broken files and a tiny one."""
    whole = (folder / "000.jpg").read_bytes()
    (folder / "copy.jpg").write_bytes(whole)
    with Image.open(folder / "002.jpg") as image:
        image.save(folder / "recompressed.jpg", quality=60)
    (folder / "cut_off.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "page.jpg").write_text("<html>not found</html>")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "tiny.png")


def read_values():
    """Return tests/params.yaml as plain values, to be changed and given to `check_params`."""
    return yaml.safe_load(PARAMS.read_text())


def write_params(root, source, **changes):
    """Write params.yaml for a small, quick run; `changes` are dotted keys with `__` for a dot."""
    values = read_values()
    values["download"]["sources"] = [source]
    quick = {
        "engine__workers": 1,
        "download__allow_private_hosts": True,
        "download__retries": 0,
        "augment__target": 60,
        "train__image_size": 32,
        "train__epochs": {"head": 0, "fine_tune": 2},
        "evaluate__bootstrap": 100,
    }
    for key, value in (quick | changes).items():
        section, name = key.split("__")
        values[section][name] = value
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def tool_environment():
    """Return an environment in which python, dvc and darkroom are those that are tested."""
    tools = Path(sys.executable).parent
    return os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "GIT_CONFIG_GLOBAL": os.devnull,  # nobody's own git and DVC settings
        "DVC_GLOBAL_CONFIG_DIR": str(REPOSITORY / "tests"),
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }


def call(folder, *command):
    """Run a command in a folder; return everything it said. A failure shows that, too."""
    process = subprocess.run(
        command,
        cwd=folder,
        env=tool_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert process.returncode == 0, f"{' '.join(command)}:\n{process.stdout}"
    return process.stdout


def run_command(*arguments):
    """Run `darkroom ARGUMENTS` in this process; return its exit status."""
    with pytest.raises(SystemExit) as stopped:
        app([str(argument) for argument in arguments])
    return stopped.value.code


def make_repository(folder, source, **changes):
    """Make a fresh git and DVC repository of the code as it is now, without any results."""
    code = ("stages", "darkroom", "dvc.yaml", ".dvc", ".dvcignore", ".gitignore", "data/.gitignore")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *code],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    write_decisions(folder / REVIEW, [])
    write_purged(folder / PURGED, [])
    write_params(folder, source, **changes)
    call(folder, "git", "init", "--quiet")
    call(folder, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", "Start")
    return folder


def repro(repository, *targets):
    """Run `dvc repro`; return the stages that ran."""
    words = call(repository, "dvc", "repro", *targets)
    return re.findall(r"Running stage '(\w+)'", words)


def dvc_here(repository, *arguments):
    """Run DVC and its stages in this process; return the stages that ran.

    Python, DVC and TensorFlow start once, not for every stage.
    """
    import dvc.cli

    ran = []

    def run_stage(executable, command, **options):
        stage = importlib.import_module(command.removeprefix("python -m "))
        ran.append(stage.__name__.removeprefix("stages."))
        run_as_script(stage.run, get_type_hints(stage.run)["params"])

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "_NoneStep.value", DeprecationWarning)  # in DVC
        warnings.filterwarnings(
            "ignore", "__array__ implementation", DeprecationWarning
        )  # in Keras
        for name, value in tool_environment().items():
            patch.setenv(name, value)
        patch.setattr("dvc.stage.run._run", run_stage)
        patch.chdir(repository)
        assert dvc.cli.main(list(arguments)) == 0, arguments
    return ran


@contextlib.contextmanager
def not_root():
    """Work as nobody, since root may read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def png(image):
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def store_records(root, records):
    """Write (name, content, labels) to one shard and its index; return the key of each name."""
    contents = {shards.key_of(content): content for _, content, _ in records}
    names = [f"{key}.png" for key in contents]
    raw = root / "data/raw"
    places = shards.write_shard(raw / "00000.tar", zip(names, contents.values(), strict=True))
    place = dict(zip(contents, places, strict=True))
    rows = [
        {
            **dict.fromkeys(tables.INDEX.names),
            **{"source": "s", "name": name, "uri": name, "status": "kept"},
            **{"key": (key := shards.key_of(content)), **place[key]._asdict()},
            **labels,
        }
        for name, content, labels in records
    ]
    tables.write_table(pd.DataFrame(rows), raw / "index.parquet", tables.INDEX, ["source", "name"])
    return {row["name"]: row["key"] for row in rows}


def fault_of(content: bytes, max_pixels: int = 10**8) -> str | None:
    """Return the reason for which an image cannot be decoded, None for one that can."""
    try:
        decode(content, max_pixels)
    except DecodeError as error:
        return error.reason
    return None
