"""One class, from train to evaluate and predict."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.models import inputs, predict
from darkroom.models.backbones import Backbone
from darkroom.models.one_class import autoencoder, fit, scores
from darkroom.models.one_class.autoencoder import build_autoencoder
from darkroom.models.one_class.fit import fit_one_class
from darkroom.models.saved import SavedModel
from darkroom.models.training import steps
from darkroom.models.training.checkpoints import Checkpoint
from darkroom.models.training.examples import (
    Examples,
    select_training_classes,
    training_classes,
)
from stages import evaluate, train
from tests.stages.test_train import write_data

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE_PX = 32
COUNTS = {"train": 24, "validation": 12, "test": 16}
LABELS = ["sharp", "blurred", "grass", "sky"]  # every second image is blurred
DEEP = {"epochs": {"head": 1, "fine_tune": 2}, "reference_classes": ["sky", "grass"]}
SETTINGS = {
    "mahalanobis": {},
    "svm": {},
    "isolation_forest": {},
    "autoencoder": {"epochs": {"head": 0, "fine_tune": 2}},
    "deep": DEEP,
}


@pytest.fixture
def settings(values, monkeypatch):
    monkeypatch.setattr("darkroom.core.params.train.BUNDLED_PX", SIDE_PX)  # as `tiny` is
    values["train"] |= {
        "task": "one_class", "normal_class": "sharp", "image_size": SIDE_PX, "batch_size": 4,
        "backbone": "bundled", "epochs": {"head": 0, "fine_tune": 1}, "threads": 2,
    }  # fmt: skip
    values["evaluate"] |= {"bootstrap": 100}

    def change(method, **changes):
        values["train"] |= {"outlier_method": method} | SETTINGS[method] | changes
        return check_params(values, Params)

    return change


@pytest.fixture
def tiny(monkeypatch):
    """Stand for a pretrained backbone: strengths of edges after one small convolution."""

    def build(params):
        import keras
        from keras import layers, ops

        image = keras.Input((SIDE_PX, SIDE_PX, 3), name="image")
        maps = layers.Conv2D(8, 3, name="filters")(image / 255)
        edges = ops.abs(maps[:, :, 1:] - maps[:, :, :-1])
        pooled = [layers.GlobalAveragePooling2D()(part) for part in (maps, edges)]
        return Backbone(keras.Model(image, layers.Concatenate()(pooled)), "resize")

    monkeypatch.setattr(fit, "build_backbone", build)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_method_goes_from_train_to_evaluate_and_predict(
    tmp_path, patches, settings, method, tiny
):
    params = settings(method)
    write_data(tmp_path, patches, COUNTS, label=LABELS)
    train.run(tmp_path, params)
    card = json.loads((tmp_path / "data/model/model.json").read_text())
    named = [card[name] for name in ("task", "normal_class", "outlier_method")]
    assert named == ["one_class", "sharp", method]
    counts = json.loads((tmp_path / "metrics/train.json").read_text())["images"]
    normal = {"train": 6, "augmented": 1, "left_out": 0, "validation": 3}
    both = {"train": 18, "augmented": 1, "left_out": 0, "validation": 9}
    assert counts | (both if method == "deep" else normal) == counts

    evaluate.run(tmp_path, params)
    table = pd.read_parquet(tmp_path / "data/predictions.parquet")
    assert list(table) == ["key", "split", "split_group", "target_label", "outlier_score"]
    known = {"sharp", "blurred"} if method == "deep" else set(LABELS)
    assert set(table["target_label"]) == known
    metrics = json.loads((tmp_path / "metrics/evaluate.json").read_text())
    assert metrics["n"] == (table["split"] == "test").sum() == 4 * len(known)
    assert metrics["positives"] == 4 * (len(known) - 1)
    assert metrics.get("reference_images_left_out") == (8 if method == "deep" else None)
    assert 0 <= metrics["auc"]["value"] <= 1

    model = SavedModel.load(tmp_path / "data/model")
    scores = model.predict(patches[:3])
    assert (scores.shape, scores.dtype) == ((3, 1), np.float64)
    said = predict.describe(model, scores[0])
    assert said["outlier_score"] == scores[0, 0]
    assert 0 <= said["normal_scoring_lower"] <= 1


def examples(patches, labels, classes):
    """Return images and their one-hot targets, blurred where they are not sharp."""
    small = [np.ascontiguousarray(patch[:48, :48]) for patch in patches[: len(labels)]]
    return Examples(small, np.eye(len(classes), dtype=np.float32)[labels])


@pytest.mark.parametrize(
    ("method", "killed_after"),
    [("svm", None), ("autoencoder", ("fine_tune", 1)), ("deep", ("fine_tune", 1))],
    ids=["svm", "autoencoder", "deep"],
)
def test_killed_in_training_and_before_scoring_ends_with_the_same_weights(
    tmp_path, patches, settings, monkeypatch, tiny, method, killed_after
):
    monkeypatch.setattr(autoencoder, "FILTERS", (4,))  # compiles sooner
    params = settings(method).train
    classes = training_classes(params)
    labels = np.arange(18) % len(classes)
    parts = examples(patches, labels, classes), examples(patches[20:], labels[:9], classes)
    undisturbed = fit_one_class(*parts, params, 17)
    save = Checkpoint.save

    def dying(self, state):
        save(self, state)
        if (state.phase, state.epoch) == killed_after:
            raise KeyboardInterrupt

    def die(*_):
        raise KeyboardInterrupt

    if killed_after:
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "save", dying)
            with pytest.raises(KeyboardInterrupt):
                fit_one_class(*parts, params, 17, tmp_path, "these images")
    with monkeypatch.context() as patch:
        patch.setattr(fit, "fit_scorer", die)
        with pytest.raises(KeyboardInterrupt):
            fit_one_class(*parts, params, 17, tmp_path, "these images")
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "predict_each", die)  # features made before the kill are kept
        resumed = fit_one_class(*parts, params, 17, tmp_path, "these images")
    assert resumed.history == undisturbed.history
    for a, b in zip(undisturbed.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert scores.to_bytes(resumed.scorer) == scores.to_bytes(undisturbed.scorer)


def test_the_autoencoders_error_is_compared_with_that_of_a_copy_in_cells(patches):
    import keras

    model = build_autoencoder(96)
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    images = np.stack([np.full((96, 96, 3), 77), patches[0]]).astype(np.float32)
    made = keras.Model(model.input, last.output).predict(images, verbose=0)
    error = np.square(made - images / 255).mean(axis=(1, 2, 3))
    cells = images.reshape(2, 12, 8, 12, 8, 3).mean(axis=(2, 4))
    copy = np.stack([cv2.resize(each, (96, 96), interpolation=cv2.INTER_LINEAR) for each in cells])
    baseline = np.square((copy - images) / 255).mean(axis=(1, 2, 3))
    assert baseline[0] == 0
    errors = model.predict(images, verbose=0)[:, 0]
    np.testing.assert_allclose(errors, error / (baseline + 1e-3), rtol=1e-4)


def test_the_autoencoder_learns_in_mixed_precision_too(patches, settings, monkeypatch):
    params = settings("autoencoder", precision="mixed", epochs={"head": 0, "fine_tune": 1}).train
    part = examples(patches, np.zeros(6, int), training_classes(params))
    used = []

    def remember(model, *rest):
        used.extend(layer.compute_dtype for layer in model.layers)
        return steps.build_train_step(model, *rest)

    monkeypatch.setattr("darkroom.models.training.phases.build_train_step", remember)
    fitted = fit_one_class(part, part, params, 17)
    assert {"float16", "float32"} <= set(used)
    assert {layer.compute_dtype for layer in fitted.model.layers} == {"float32"}
    assert np.isfinite(fitted.history[0]["val_loss"])
    assert fitted.scorer.normal_scores.mean() == pytest.approx(
        fitted.history[0]["val_loss"], rel=0.05
    )


def test_a_wrong_layer_stops_before_the_first_epoch(patches, settings, tiny):
    params = settings("deep", augment=[{"layer": "RandomNonsense"}]).train
    classes = training_classes(params)
    part = examples(patches, np.arange(9) % len(classes), classes)
    seen = []
    with pytest.raises(UserError, match=r"augment\[0\]\.layer"):
        fit_one_class(part, part, params, 17, on_epoch_end=lambda history: seen.extend(history))
    assert not seen


def test_outliers_are_not_read_before_the_evaluation(settings):
    rows = pd.DataFrame({"key": list("abcd"), "label": LABELS})
    assert list(
        select_training_classes(rows, settings("svm", reference_classes=["sky"]).train)["key"]
    ) == ["a"]
    assert list(select_training_classes(rows, settings("deep").train)["key"]) == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("known", "usual", "said"), [(9, 3, True), (20, 19, True), (20, 20, False)]
)
def test_how_little_few_normal_images_say_is_said(caplog, known, usual, said):
    parts = (Examples(range(count), np.zeros((count, 1), np.float32)) for count in (known, usual))
    fit.check_normal(fit.Parts(*parts), "sharp")
    assert (f"only {known} images show what is normal, and {usual} more" in caplog.text) == said
    assert not said or f"in steps of {100 / usual:.0f} %" in caplog.text


@pytest.mark.parametrize(
    ("method", "changes", "counts", "labels", "word"),
    [
        pytest.param("autoencoder", {"normal_class": "cat"}, COUNTS, {"label": LABELS},
                     r"train.normal_class: expected labels of .*, 'blurred', 'grass', 'sharp',"
                     " 'sky'; got 'cat'", id="normal class unknown"),
        pytest.param("svm", {}, {"train": 8}, {"label": LABELS}, r"no image of "
                     r"train.normal_class, 'sharp', in the validation split.*split\.validation",
                     id="no normal image to validate"),
        pytest.param("svm", {}, {"train": 4, "validation": 8}, {"label": ["sky", "sky", "sharp"]},
                     "expected two images at least of train.normal_class, 'sharp'.* got 1",
                     id="one normal image"),
        pytest.param("svm", {}, {"test": 4}, {"label": ["sharp"]},
                     "of which there are none; got 'sharp'", id="normal images in test alone"),
        pytest.param("svm", {}, {"train": 1, "validation": 4}, {"label": ["sky", "sharp"]},
                     "expected two images at least of train.normal_class, 'sharp'.* got 0",
                     id="no normal image to train on"),
        pytest.param("svm", {}, COUNTS, {"mean": [5.0]},
                     "set train.task to rating", id="ratings only"),
        pytest.param("deep", {"reference_classes": ["sky", "sea"]}, COUNTS, {"label": LABELS},
                     r"train.reference_classes: expected labels of .*; got 'sea'",
                     id="reference class unknown"),
        pytest.param("deep", {}, {"train": 8, "validation": 2}, {"label": LABELS},
                     "no image of train.reference_classes in the validation split",
                     id="no reference image to validate"),
        pytest.param("deep", {}, {"train": 3, "validation": 8}, {"label": LABELS},
                     "no image in the train split of train.reference_classes 'sky'",
                     id="no image of a reference class to train on"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_said(
    tmp_path, patches, settings, method, changes, counts, labels, word
):
    write_data(tmp_path, patches, counts, **labels)
    with pytest.raises(UserError, match=word):
        train.run(tmp_path, settings(method, **changes))
    assert not (tmp_path / "data/model").exists()
