"""Each stage on its own in an empty folder, then all again, killed at odd moments.

A small rated folder goes once through all stages, each with nothing but its declared deps; the
second run uses two workers instead of one and is killed and restarted in every stage.
"""

import os
import shutil
import signal
import subprocess
from typing import NamedTuple

import pytest
import yaml

from darkroom.core.params.section import Section
from darkroom.core.params.whole import Params
from tests.harness import (
    PATIENCE_S,
    REPOSITORY,
    tool_environment,
    write_bad_company,
    write_params,
    write_rated,
)

DVC = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())
STAGES = list(DVC["stages"])
IGNORED = {".darkroom", "__pycache__", "params.yaml", "stages"}
KILL_AFTER_CHANGES = (1, 6)  # the moments at which a stage dies: after so many changes on disk

# Loaded by every Python process of a stage, workers included: notes which settings are read.
TRACER = """
import os, sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

class Finder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in {"darkroom.core.params.section", "darkroom.core.params.load"}:
            return None
        spec = PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            (trace if name.endswith("section") else trace_file)(module)
        spec.loader.exec_module = exec_module
        return spec

# Of the process that read params.yaml only that object counts: a model has a Scale of its own.
seen, reading_file, read = set(), [], set()

def trace(module):
    plain = module.Section.__getattribute__

    def noted(self, name):
        section = type(self)
        new = (section.__name__, name) not in seen and name in section.__pydantic_fields__
        if new and not reading_file and (not read or id(self) in read):
            seen.add((section.__name__, name))
            with open(os.environ["SETTINGS_READ"], "a") as handle:
                handle.write(f"{section.__name__} {name}\\n")
        return plain(self, name)

    module.Section.__getattribute__ = noted

def trace_file(module):
    check = module.check_params

    def check_unnoted(*args, **options):
        reading_file.append(True)
        try:
            params = check(*args, **options)
            remember(params)
            return params
        finally:
            reading_file.pop()

    def remember(section):
        read.add(id(section))
        for value in section.__dict__.values():
            if isinstance(value, module.Section):
                remember(value)

    module.check_params = check_unnoted

sys.meta_path.insert(0, Finder())
"""

# Loaded by them as well: ends the stage with all its processes instead of one change on disk more.
KILLER = """
import os, signal, sys

left, here = int(os.environ["CHANGES_LEFT"]), os.getcwd()
WRITTEN = [os.path.join(here, top, "") for top in (".darkroom", "data", "metrics")]
CHANGES = ("os.rename", "os.remove", "os.link", "os.mkdir")

def count(event, arguments):  # of Python's own: it tells of every file that is opened or moved
    global left
    opened = event == "open" and arguments[2] & os.O_ACCMODE != os.O_RDONLY
    if (opened or event in CHANGES) and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.path.join(here, os.fsdecode(arguments[0]))
        if path.startswith(tuple(WRITTEN)):
            left -= 1
            if left < 0:
                os.killpg(0, signal.SIGKILL)

sys.addaudithook(count)
"""


def paths_of(items):
    return [item if isinstance(item, str) else next(iter(item)) for item in items]


def outs_of(stage):
    return paths_of([*DVC["stages"][stage]["outs"], *DVC["stages"][stage].get("metrics", [])])


def test_no_stage_names_code_and_each_has_its_digest():
    for stage in STAGES:
        deps = paths_of(DVC["stages"][stage].get("deps", []))
        assert not [path for path in deps if path.startswith(("stages", "darkroom"))]
        assert (f"data/code/{stage}" in deps) == (stage != "scan")
    code = {path for path in outs_of("scan") if path.startswith("data/code/")}
    assert code == {f"data/code/{stage}" for stage in STAGES if stage != "scan"}


def test_the_stages_are_the_scripts_in_order():
    order = "scan download clean embed dedupe split augment train evaluate report"
    assert order.split() == STAGES
    scripts = {path.stem for path in (REPOSITORY / "stages").glob("*") if path.suffix == ".py"}
    assert scripts - {"__init__"} == set(STAGES)
    assert [DVC["stages"][stage]["cmd"] for stage in STAGES] == [
        f"python -m stages.{stage}" for stage in STAGES
    ]


def test_every_plot_is_an_out_and_every_plot_file_is_plotted():
    outs = {path for stage in STAGES for path in outs_of(stage) if "/plots/" in path}
    plotted = set()
    for plot in DVC["plots"]:
        for identity, options in ({plot: None} if isinstance(plot, str) else plot).items():
            sources = (options or {}).get("y", identity)
            plotted |= set(sources) if isinstance(sources, dict) else {identity}
    assert plotted == outs


class Run(NamedTuple):
    """What one stage did in its own folder."""

    code: int
    words: str
    left: set  # files that were not there before
    changed: set  # deps that are no longer what they were
    read: set  # settings, as dotted keys


def start(stage, box, **environment):
    return subprocess.Popen(
        DVC["stages"][stage]["cmd"].split(),
        cwd=box,
        env=tool_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy2(source, target)


def contents(box):
    """Return the bytes of every file that counts, by path."""
    return {
        path.relative_to(box).as_posix(): path.read_bytes()
        for path in box.rglob("*")
        if path.is_file() and not IGNORED & set(path.relative_to(box).parts)
    }


def settings_read(log):
    """Translate 'Epochs head' to 'train.epochs.head'; sections that only lead on are left out."""
    places = {}

    def walk(model, prefix):
        places[model.__name__] = prefix
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                walk(field.annotation, f"{prefix}{name}.")

    walk(Params, "")
    lines = set(log.read_text().splitlines()) if log.exists() else set()
    keys = {places[model] + name for model, name in map(str.split, lines) if model in places}
    return {key for key in keys if f"{key}." not in places.values()}


@pytest.fixture(scope="session")
def source(tmp_path_factory, patches):
    folder = tmp_path_factory.mktemp("photos")
    write_rated(folder, patches[:60])
    write_bad_company(folder)
    return folder


@pytest.fixture(scope="session")
def code(tmp_path_factory):
    """Return a folder with the code as it is now, so that an edit during the tests is harmless."""
    folder = tmp_path_factory.mktemp("code")
    for name in ("stages", "darkroom"):
        copy(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def hermetic(tmp_path_factory, code, source):
    """Run every stage in a folder that holds its deps alone; return (results, what each did)."""
    base = tmp_path_factory.mktemp("hermetic")
    done, runs = base / "done", {}
    (base / "tracer").mkdir()
    (base / "tracer" / "sitecustomize.py").write_text(TRACER)
    for stage in STAGES:
        box = base / stage
        copy(code / "stages", box / "stages")
        for path in DVC["stages"][stage].get("deps", []):
            copy(done / path, box / path)
        write_params(box, {"kind": "folder", "path": str(source), "labels": "ratings.csv"})
        before, log = contents(box), base / f"{stage}.settings"
        paths = os.pathsep.join([str(base / "tracer"), str(code)])
        process = start(stage, box, PYTHONPATH=paths, SETTINGS_READ=str(log))
        words, _ = process.communicate(timeout=PATIENCE_S)
        after = contents(box)
        changed = {path for path, content in before.items() if after.get(path) != content}
        left = set(after) - set(before)
        runs[stage] = Run(process.returncode, words, left, changed, settings_read(log))
        for path in outs_of(stage):
            copy(box / path, done / path)
    return done, runs


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_with_its_declared_deps_alone(hermetic, stage):
    run = hermetic[1][stage]
    assert run.code == 0, run.words
    assert run.changed == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_exactly_its_declared_outs(hermetic, stage):
    left, declared = hermetic[1][stage].left, outs_of(stage)
    stray = {p for p in left if not any(p == o or p.startswith(f"{o}/") for o in declared)}
    absent = {o for o in declared if not any(p == o or p.startswith(f"{o}/") for p in left)}
    assert (stray, absent) == (set(), set())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_every_setting_that_it_reads(hermetic, stage):
    declared = DVC["stages"][stage].get("params", [])
    read = {key for key in hermetic[1][stage].read if not key.startswith("engine.")}
    covered = {k for k in read if any(k == d or k.startswith(f"{d}.") for d in declared)}
    assert read - covered == set()


@pytest.fixture(scope="session")
def killed(tmp_path_factory, code, source):
    """Run every stage with two workers, killed with all its processes; return (folder, kills)."""
    box = tmp_path_factory.mktemp("killed")
    copy(code / "stages", box / "stages")
    write_params(
        box, {"kind": "folder", "path": str(source), "labels": "ratings.csv"}, engine__workers=2
    )
    killer = tmp_path_factory.mktemp("killer")
    (killer / "sitecustomize.py").write_text(KILLER)
    paths = os.pathsep.join([str(killer), str(code)])
    kills = dict.fromkeys(STAGES, 0)
    for stage in STAGES:
        for changes in KILL_AFTER_CHANGES:
            process = start(stage, box, PYTHONPATH=paths, CHANGES_LEFT=str(changes))
            words, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode in {0, -signal.SIGKILL}, words
            kills[stage] += process.returncode != 0
        process = start(stage, box, PYTHONPATH=str(code))
        words, _ = process.communicate(timeout=PATIENCE_S)
        if process.returncode:
            (box / f"{stage}.failed").write_text(words)
    return box, kills


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_and_rerun_with_more_workers_leaves_the_same_bytes(hermetic, killed, stage):
    box, kills = killed
    failed = box / f"{stage}.failed"
    assert not failed.exists(), failed.read_text()
    assert kills[stage] > 0
    undisturbed, disturbed = contents(hermetic[0]), contents(box)
    for out in outs_of(stage):
        names = {p for p in undisturbed | disturbed if p == out or p.startswith(f"{out}/")}
        different = {p for p in names if undisturbed.get(p) != disturbed.get(p)}
        assert different == set()
