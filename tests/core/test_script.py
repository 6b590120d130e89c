"""What a user sees who gives a stage something wrong: one message, exit code 1, no trace."""

import pytest
import yaml

from darkroom.core.errors import UserError
from darkroom.core.script import run_as_script
from darkroom.core.stale_metrics import put_back
from stages import clean, download, scan
from tests.harness import REPOSITORY, write_params


def run_in(folder, monkeypatch, *stages):
    monkeypatch.chdir(folder)
    for stage in stages:
        run_as_script(stage.run, stage.Params)


def test_a_misspelt_setting_stops_before_any_work(tmp_path, monkeypatch):
    write_params(tmp_path, {"kind": "sample"})
    text = (tmp_path / "params.yaml").read_text().replace("min_side_px", "min_sidepx")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SystemExit, match=r"(?s)error: .*min_sidepx: unknown key, did you mean"):
        run_in(tmp_path, monkeypatch, scan)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_stage_outside_a_repository_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"error: .*params\.yaml"):
        run_in(tmp_path, monkeypatch, scan)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"kind": "folder", "path": "absent"}, "absent"),
        ({"kind": "folder", "path": "empty"}, "no file in .*empty; put images there"),
        ({"kind": "list", "path": "absent.csv"}, r"absent\.csv"),
        ({"kind": "folder", "path": "photos", "labels": "absent.csv"}, r"absent\.csv is not there"),
    ],
    ids=["missing folder", "empty folder", "missing list", "missing label table"],
)
def test_a_source_that_is_not_there_is_named_with_the_setting(
    tmp_path, monkeypatch, source, expected
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"a")
    write_params(tmp_path, source)
    with pytest.raises(SystemExit, match=f"error: params.yaml: download.sources: .*{expected}"):
        run_in(tmp_path, monkeypatch, scan)


def test_a_folder_in_which_every_file_is_broken_stops_with_the_reasons(tmp_path, monkeypatch):
    for number in range(4):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{number}.jpg").write_text(f"<html>{number}</html>")
    write_params(tmp_path, {"kind": "folder", "path": "photos"})
    with pytest.raises(SystemExit, match=r"(?s)error: clean: 4 of 4 images failed.*not_an_image"):
        run_in(tmp_path, monkeypatch, scan, download, clean)


@pytest.mark.parametrize("fault", [UserError("wrong"), RuntimeError("a bug"), KeyboardInterrupt()])
def test_a_failed_stage_leaves_no_metrics_of_an_earlier_run(tmp_path, monkeypatch, fault):
    text = (REPOSITORY / "dvc.yaml").read_text()
    (tmp_path / "dvc.yaml").write_text(text)
    stages = yaml.safe_load(text)["stages"]
    outs = {
        name: [
            tmp_path / (out if isinstance(out, str) else next(iter(out)))
            for out in [*stage.get("outs", []), *stage.get("metrics", [])]
        ]
        for name, stage in stages.items()
    }
    files = [path for paths in outs.values() for path in paths if path.suffix]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of another data set")

    def fail(*_):
        raise fault

    monkeypatch.setattr(clean, "read_decisions", fail)
    write_params(tmp_path, {"kind": "sample"})
    with pytest.raises((SystemExit, RuntimeError, KeyboardInterrupt)):
        run_in(tmp_path, monkeypatch, clean)
    gone = {path for path in files if not path.exists()}
    later = [name for name in outs if name not in {"scan", "download"}]
    metrics = {
        path for name in later for path in outs[name] if tmp_path / "metrics" in path.parents
    }
    assert gone == (set() if isinstance(fault, KeyboardInterrupt) else metrics)
    put_back(tmp_path, "scan")
    assert {path for path in files if not path.exists()} == gone
    put_back(tmp_path, "clean")  # DVC then looks what of it still holds
    assert all(path.read_text() == "of another data set" for path in files)
