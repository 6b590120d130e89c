import csv
import io
import os

import numpy as np
import pytest
from PIL import Image

from darkroom.core.params.scale import Scale
from darkroom.filters.preprocess import read_steps
from darkroom.models import predict, saved
from darkroom.models.one_class.scores import Scorer
from darkroom.models.saved import SavedModel
from tests.harness import run_command


class Bright(SavedModel):
    """Predicts by brightness: dark images are bad, bright ones good."""

    def predict(self, images):
        shares = [[1 - i.mean() / 255, 0, i.mean() / 255] for i in images]
        return np.array(shares, np.float32).reshape(-1, 3)


class Outlying(SavedModel):
    """The brighter, the more outlying."""

    def predict(self, images):
        return np.array([[image.mean() / 255] for image in images], np.float64).reshape(-1, 1)


@pytest.fixture
def rating():
    return Bright("rating", (), Scale(low=1, high=3, bins=3), 64, "crop", b"")


@pytest.fixture
def classes():
    return Bright("classification", ("bad", "fair", "good"), None, 64, "crop", b"")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (70, 70), "black").save(tmp_path / "a.png")
    Image.new("RGB", (70, 70), "white").save(tmp_path / "deep" / "=b.jpg", quality=100)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def run(model, monkeypatch, *arguments):
    monkeypatch.setattr(SavedModel, "load", lambda folder: model)
    return run_command("predict", *arguments)


def test_folder_is_searched_and_a_broken_file_stops_nothing(
    rating, folder, monkeypatch, capsys, tmp_path
):
    out = tmp_path / "scores.csv"
    assert run(rating, monkeypatch, folder, "--out", out) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["mean 1.000", "mean 3.000"]
    assert "broken.jpg: not predicted" in said.err
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["mean"] for row in rows] == ["1.000000", "", "3.000000"]
    assert rows[1]["error"]
    assert list(rows[0]) == ["name", "mean", "std", "share_1", "share_2", "share_3", "error"]


def test_an_image_too_small_for_train_prepare_stops_nothing(folder, monkeypatch, capsys):
    steps = read_steps([{"filter": "median", "size_px": 5}], "train.preprocess")
    Image.new("RGB", (70, 4)).save(folder / "c.png")
    model = Bright("rating", (), Scale(low=1, high=3, bins=3), 64, "crop", b"", tuple(steps))
    assert run(model, monkeypatch, folder / "a.png", folder / "c.png") == 1
    said = capsys.readouterr()
    assert "a.png: mean 1.000" in said.out
    assert "c.png: not predicted, train.preprocess: median looks at squares of 5 px" in said.err


def test_classes_are_named(classes, folder, monkeypatch, capsys):
    assert run(classes, monkeypatch, folder / "a.png") == 0
    assert "class bad, probability_bad 1.000" in capsys.readouterr().out


def test_one_class_prints_the_score_and_how_usual_it_is(folder, monkeypatch, capsys, tmp_path):
    scorer = Scorer("autoencoder", {}, np.array([0.0, 0.25, 0.5, 2.0]))
    model = Outlying("one_class", (), None, 64, "crop", b"", scorer=scorer, normal_class="dark")
    out = tmp_path / "scores.csv"
    assert run(model, monkeypatch, folder / "a.png", folder / "deep", "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a.png: outlier_score 0, normal_scoring_lower 0.000")
    assert lines[1].endswith("=b.jpg: outlier_score 1, normal_scoring_lower 0.750")
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["name", "outlier_score", "normal_scoring_lower", "error"]


def test_small_outlier_scores_keep_their_digits():
    found = predict.Prediction(
        "a.png", {"outlier_score": -1.2345678e-7, "normal_scoring_lower": 0.0}
    )
    assert predict.as_csv([found]).splitlines()[1] == "a.png,-1.2345678e-07,0.000000,"


def test_spreadsheets_see_no_formula(rating, folder, monkeypatch):
    monkeypatch.chdir(folder / "deep")
    assert run(rating, monkeypatch, "=b.jpg", "--out", "out.csv") == 0
    assert (folder / "deep" / "out.csv").read_text().splitlines()[1].startswith("'=b.jpg,")


@pytest.mark.parametrize("content", [b"no image", None], ids=["broken", "whole"])
def test_names_that_are_no_text_or_steer_a_terminal_stop_nothing(
    rating, folder, monkeypatch, capsysbinary, content
):
    names = [os.fsdecode(name) for name in (b"\x1b[2J\n.png", b"\xff.png")]
    for name in names:
        whole = (folder / "a.png").read_bytes()
        (folder / "deep" / name).write_bytes(content or whole)
    paths = [folder / "deep" / name for name in names]
    assert run(rating, monkeypatch, *paths, "--out", folder / "out.csv") == (content is not None)
    lines = b"".join(capsysbinary.readouterr()).splitlines()
    assert [line.partition(b": ")[0].rpartition(b"/")[2] for line in lines] == [
        rb"\x1b[2J\n.png", rb"\xff.png"
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text(), newline="")))
    assert rows[0]["name"].endswith("\x1b[2J\n.png")
    assert rows[1]["name"].endswith(r"\xff.png")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        pytest.param("absent.jpg", "does not exist", id="absent file"),
        pytest.param("empty", "no image files", id="empty folder"),
    ],
)
def test_nothing_to_predict_is_said(rating, tmp_path, monkeypatch, capsys, name, word):
    (tmp_path / "empty").mkdir()
    assert run(rating, monkeypatch, tmp_path / name) == 1
    assert word in capsys.readouterr().err


def test_absent_model_and_task_none_are_said(tmp_path, folder, capsys):
    assert run_command("predict", folder, "--model", tmp_path / "model") == 1
    assert "dvc repro" in capsys.readouterr().err
    saved.write_none(tmp_path / "model")
    assert run_command("predict", folder, "--model", tmp_path / "model") == 1
    assert "train.task" in capsys.readouterr().err
