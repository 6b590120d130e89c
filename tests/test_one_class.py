"""One class, from train to evaluate and predict."""

import json

import numpy as np
import pandas as pd
import pytest

from stages import evaluate, predict, train
from stages.lib.failures import UserError
from stages.lib.params import check_params
from stages.models import one_class
from stages.models.backbones import Backbone
from stages.models.saved import SavedModel
from tests.test_train import write_data

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COUNTS = {"train": 24, "validation": 12, "test": 16}
LABELS = ["sharp", "blurred", "grass", "sky"]  # every second image is blurred
FROZEN = {"backbone": "bundled"}  # the fixture `frozen` stands for it
SETTINGS = {
    "mahalanobis": FROZEN,
    "svm": FROZEN,
    "isolation_forest": FROZEN,
    "autoencoder": {"epochs": {"head": 0, "fine_tune": 2}},
    "deep": {"epochs": {"head": 1, "fine_tune": 2}, "reference_classes": ["sky", "grass"]},
}
SCORED = "outlier_score"


@pytest.fixture
def settings(values):
    values["train"] |= {
        "task": "one_class", "normal_class": "sharp", "image_size": 32, "batch_size": 4,
        "epochs": {"head": 0, "fine_tune": 1}, "threads": 2,
    }  # fmt: skip
    values["evaluate"] |= {"bootstrap": 100}

    def change(method, **changes):
        values["train"] |= {"outlier_method": method} | SETTINGS[method] | changes
        return check_params(values)

    return change


@pytest.fixture
def frozen(monkeypatch):
    """Stand for a pretrained backbone: 12 averages over halves of the image and its edges."""

    def build(params):
        import keras
        from keras import layers, ops

        image = keras.Input((32, 32, 3), name="image")
        edges = ops.abs(image[:, :, 1:] - image[:, :, :-1])
        parts = (image[:, :16], image[:, 16:], edges[:, :16], edges[:, 16:])
        pooled = [layers.GlobalAveragePooling2D()(part) for part in parts]
        return Backbone(keras.Model(image, layers.Concatenate()(pooled)), "resize")

    monkeypatch.setattr(one_class, "build_backbone", build)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_method_goes_from_train_to_evaluate_and_predict(
    tmp_path, patches, settings, method, request
):
    params = settings(method)
    if SETTINGS[method] is FROZEN:
        request.getfixturevalue("frozen")
    for root in (tmp_path / "a", tmp_path / "b"):
        write_data(root, patches, COUNTS, label=LABELS)
        train.run(root, params)
    root, files = tmp_path / "a", ["model.json", "model.keras", "model.tflite", "scorer.npz"]
    for name in files:
        assert (root / "data/model" / name).read_bytes() == (
            tmp_path / "b/data/model" / name
        ).read_bytes(), name
    card = json.loads((root / "data/model/model.json").read_text())
    assert (card["task"], card["normal_class"], card["outlier_method"]) == (
        "one_class", "sharp", method,
    )  # fmt: skip
    evaluate.run(root, params)
    table = pd.read_parquet(root / "data/predictions.parquet")
    assert list(table) == ["key", "split", "split_group", "target_label", SCORED]
    known = {"sharp", "blurred"} if method == "deep" else set(LABELS)
    assert set(table["target_label"]) == known
    assert (table["split"] == "test").sum() == 16 * len(known) / 4
    metrics = json.loads((root / "metrics/evaluate.json").read_text())
    assert metrics["positives"] == 4 * (len(known) - 1)
    assert 0 <= metrics["auc"]["value"] <= 1
    assert metrics.get("reference_images_left_out") == (8 if method == "deep" else None)
    model = SavedModel.load(root / "data/model")
    scores = model.predict(patches[:3])
    assert (scores.shape, scores.dtype) == ((3, 1), np.float64)
    said = predict.describe(model, scores[0])
    assert said[SCORED] == scores[0, 0]
    assert 0 <= said["normal_scoring_lower"] <= 1


def test_nothing_is_learnt_from_outliers(tmp_path, patches, settings):
    for name, labels in (("a", ["sharp", "blurred"]), ("b", ["sharp", "dark"])):
        write_data(tmp_path / name, patches, {"train": 8, "validation": 4}, label=labels)
        train.run(tmp_path / name, settings("autoencoder"))
    for name in ("model.keras", "model.json", "scorer.npz"):
        a, b = ((tmp_path / root / "data/model" / name).read_bytes() for root in "ab")
        assert a == b, name
    metrics = json.loads((tmp_path / "a/metrics/train.json").read_text())
    assert metrics["images"] == {"train": 4, "augmented": 1, "validation": 2}


@pytest.mark.parametrize("method", ["autoencoder", "deep"])
def test_killed_and_resumed_gives_the_same_bytes(tmp_path, patches, settings, monkeypatch, method):
    from stages.models.checkpoints import Checkpoint

    params, save, saved = settings(method), Checkpoint.save, []

    def killed(self, progress):
        save(self, progress)
        saved.append(progress.phase)
        if len(saved) == len(set(saved)) and progress.phase == "fine_tune":
            raise KeyboardInterrupt

    for root in (tmp_path / "a", tmp_path / "b"):
        write_data(root, patches, COUNTS, label=LABELS)
    train.run(tmp_path / "a", params)
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train.run(tmp_path / "b", params)
    train.run(tmp_path / "b", params)
    for name in ("data/model/model.keras", "data/model/scorer.npz", "metrics/train.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("method", "changes", "counts", "labels", "word"),
    [
        pytest.param("autoencoder", {"normal_class": "cat"}, COUNTS, {"label": LABELS},
                     r"train.normal_class: expected one of the labels 'blurred', 'grass', 'sharp',"
                     " 'sky'; got 'cat'", id="normal class unknown"),
        pytest.param("autoencoder", {}, {"train": 8}, {"label": LABELS}, r"no image of "
                     r"train.normal_class, 'sharp', in the validation split.*split\.validation",
                     id="no normal image to validate"),
        pytest.param("autoencoder", {}, {"train": 4, "validation": 4}, {"label": LABELS},
                     "expected two images at least of train.normal_class, 'sharp'.* got 1",
                     id="one normal image"),
        pytest.param("autoencoder", {}, COUNTS, {"mean": [5.0]},
                     "set train.task to rating", id="ratings only"),
        pytest.param("deep", {"reference_classes": ["sky", "sea"]}, COUNTS, {"label": LABELS},
                     r"train.reference_classes: expected labels of .*; got 'sea'",
                     id="reference class unknown"),
        pytest.param("deep", {}, {"train": 8, "validation": 2}, {"label": LABELS},
                     "no image of train.reference_classes in the validation split",
                     id="no reference image to validate"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_said(
    tmp_path, patches, settings, method, changes, counts, labels, word
):
    write_data(tmp_path, patches, counts, **labels)
    with pytest.raises(UserError, match=word):
        train.run(tmp_path, settings(method, **changes))
    assert not (tmp_path / "data/model").exists()
