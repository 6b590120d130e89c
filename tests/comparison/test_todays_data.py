"""Comparing over a set that has grown: the older code and parameters on today's data."""

import pytest
import yaml

from darkroom.comparison.todays_data import trained_today
from darkroom.core.errors import UserError
from tests.comparison.revisions import KEYS, Project, ratings
from tests.harness import run_command

MORE = [f"{number:032x}" for number in range(1000, 1150)]
# A stage train that notes what it learns from, and one that predicts as well as `noise` says.
TRAIN = """
import pathlib, yaml
pathlib.Path("data/model").write_text(yaml.safe_load(open("params.yaml"))["noise"])
"""
EVALUATE = """
import json, pathlib
import pandas as pd
from darkroom.core.tables import write_table
from darkroom.evaluation.predictions import schema_of
from tests.comparison.revisions import ratings
split = pd.read_parquet("data/split.parquet")
keys = list(split.loc[split["split"] == "test", "key"])
rows = ratings(float(pathlib.Path("data/model").read_text()), keys)
write_table(rows, pathlib.Path("data/predictions.parquet"), schema_of(rows))
pathlib.Path("metrics").mkdir(exist_ok=True)
known = {"task": "rating", "cutoff": 5.0, "positive_class": None}
pathlib.Path("metrics/evaluate.json").write_text(json.dumps(known))
"""
STAGES = {
    "split": {"cmd": "true", "outs": ["data/split.parquet"]},
    "train": {"cmd": "python train.py", "deps": ["data/split.parquet"], "outs": ["data/model"]},
    "evaluate": {
        "cmd": "python evaluate.py",
        "deps": ["data/model", "data/split.parquet"],
        "outs": ["data/predictions.parquet"],
        "metrics": [{"metrics/evaluate.json": {"cache": False}}],
    },
}


@pytest.fixture
def grown(tmp_path, repository, monkeypatch):
    """Return a project whose tag `before` has another model and a third of the images."""
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (tmp_path / "train.py").write_text(TRAIN)
    path = f"import sys\nsys.path.insert(1, {str(repository)!r})\n"
    (tmp_path / "evaluate.py").write_text(path + EVALUATE)
    write = project.write

    def write_with_noise(noise, keys):
        write(ratings(noise, keys))
        with (tmp_path / "params.yaml").open("a") as params:
            params.write(f"noise: '{noise}'\n")
        (tmp_path / "data/model").write_text(str(noise))

    monkeypatch.setattr(project, "write", write_with_noise)
    project.commit("before", 0.4, KEYS)
    project.write(2.5, [*KEYS, *MORE])
    (tmp_path / "train.py").write_text("raise SystemExit('not this code')")
    return tmp_path


def test_a_set_that_has_grown_is_refused_with_the_command_that_helps(grown, capsys):
    assert run_command("compare", "before") == 2
    said = capsys.readouterr().err
    assert "only 60 of the workspace's 210 test images are in both revisions (29%)" in said
    assert "`darkroom compare before --on-todays-data`" in said


def test_the_older_code_and_parameters_learn_from_todays_data(grown, capsys):
    before = {path: path.read_bytes() for path in grown.glob("[dmpt]*/*") if path.is_file()}
    assert run_command("compare", "before", "--on-todays-data") == 1
    said = capsys.readouterr()
    assert "the workspace against before on today's data" in said.out
    assert "210 test images in both" in said.out
    assert "Significantly worse: SRCC" in said.out
    assert "before on today's data: train\n" in said.err
    assert {path: path.read_bytes() for path in before} == before
    assert not list((grown / ".dvc/tmp/exps").iterdir())


def test_a_stage_that_fails_on_todays_data_is_named(grown, capfd):
    (grown / "data/split.parquet").write_bytes(b"no table")
    said = pytest.raises(UserError, match="before: its stage evaluate failed on today's data")
    with said, trained_today(grown, "before"):
        pass
    assert "pyarrow" in capfd.readouterr().err


def test_what_the_older_code_needs_and_the_workspace_lacks_is_named(grown):
    (grown / "data/split.parquet").unlink()
    said = pytest.raises(UserError, match=r"before: its stage train reads data/split\.parquet")
    with said, trained_today(grown, "before"):
        pass


def test_head_is_the_workspace(grown, capsys):
    assert run_command("compare", "before", "before", "--on-todays-data") == 2
    assert "expected BASE alone, since HEAD is the workspace" in capsys.readouterr().err
