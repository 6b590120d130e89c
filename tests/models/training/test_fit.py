import os

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.models import inputs
from darkroom.models.saved import SavedModel, keras_bytes, write_model
from darkroom.models.training import checkpoints, features, fit, steps
from darkroom.models.training.examples import Examples
from tests.models.networks import few_layers
from tests.models.training.conftest import LAYERS

# Keras 3.15 saves TensorFlow variables through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Killed(BaseException):
    pass


def test_two_runs_give_equal_bytes_and_learn(tiny, fitted):
    train, validation, params = tiny
    again = fit.fit_model(train, validation, params, 17)
    assert keras_bytes(fitted.model) == keras_bytes(again.model)
    assert fitted.history == again.history
    assert [row["phase"] for row in fitted.history] == ["head"] + ["fine_tune"] * 3
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]
    predicted = fitted.predict(validation.images)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)


def test_layers_of_keras_change_what_training_sees(fitted, fitted_with_layers):
    plain, changed = fitted.history, fitted_with_layers.history
    assert plain[0] == changed[0]  # the frozen phase sees cached features
    assert plain[1]["loss"] != changed[1]["loss"]


@pytest.mark.parametrize("layers", [False, True], ids=["plain", "augmented"])
def test_killed_after_several_epochs_ends_with_the_same_bytes(
    tiny, fitted, fitted_with_layers, tmp_path, monkeypatch, layers
):
    train, validation, params = tiny
    whole = fitted_with_layers if layers else fitted
    params = params.model_copy(update={"augment": LAYERS if layers else []})
    save, saved = checkpoints.Checkpoint.save, []

    def save_and_die(self, state):
        save(self, state)
        saved.append((state.phase, state.epoch))
        if saved[-1] in (("head", 1), ("fine_tune", 1), ("fine_tune", 3)):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoint, "save", save_and_die)
        for _ in range(3):
            with pytest.raises(Killed):
                fit.fit_model(train, validation, params, 17, tmp_path, "data")
    assert saved == [("head", 1), ("fine_tune", 1), ("fine_tune", 2), ("fine_tune", 3)]
    resumed = fit.fit_model(train, validation, params, 17, tmp_path, "data")
    assert keras_bytes(resumed.model) == keras_bytes(whole.model)
    assert resumed.history == whole.history


class Counted(list):
    """Images that count how often they are read, and die at one of them."""

    def __init__(self, images, last):
        super().__init__(images)
        self.last, self.read = last, []

    def __getitem__(self, position):
        if position == self.last:
            raise Killed
        self.read.append(position)
        return super().__getitem__(position)


def test_a_killed_extraction_goes_on_where_it_was(tiny, tmp_path, monkeypatch):
    train, validation, params = tiny
    monkeypatch.setattr(features, "PART_IMAGES", 5)
    epochs = params.epochs.model_copy(update={"head": 1, "fine_tune": 0})
    params = params.model_copy(update={"epochs": epochs})
    whole = fit.fit_model(train, validation, params, 17)
    dying = train._replace(images=Counted(train.images, 12))
    with pytest.raises(Killed):
        fit.fit_model(dying, validation, params, 17, tmp_path, "data")
    counted = train._replace(images=Counted(train.images, None))
    resumed = fit.fit_model(counted, validation, params, 17, tmp_path, "data")
    assert sorted(counted.images.read) == [10, 11, 12, 13, 14, 15], "two parts of five were kept"
    assert keras_bytes(resumed.model) == keras_bytes(whole.model)
    other = train._replace(images=Counted(train.images, None))
    fit.fit_model(other, validation, params, 17, tmp_path, "other data")
    assert len(other.images.read) == 16


def test_checkpoint_of_other_data_is_not_resumed(tmp_path):
    state = checkpoints.TrainingState("fine_tune", 2, variables=[np.ones(3)])
    checkpoints.Checkpoint(tmp_path, "one").save(state)
    assert checkpoints.Checkpoint(tmp_path, "other").load() is None
    state = checkpoints.Checkpoint(tmp_path, "one").load()
    assert (state.phase, state.epoch, len(state.variables)) == ("fine_tune", 2, 1)


def test_a_checkpoint_knows_the_bundled_network_and_the_precision(params, tmp_path, monkeypatch):
    network = tmp_path / "network.keras"
    monkeypatch.setattr(fit, "BUNDLED", network)
    bundled = params.train.model_copy(update={"backbone": "bundled", "image_size": 128})
    digests = []
    for content, mixed in ((b"one", False), (b"other", False), (b"other", True)):
        network.write_bytes(content)
        monkeypatch.setattr(steps, "uses_mixed_precision", lambda precision, mixed=mixed: mixed)
        digests.append(fit.fingerprint(bundled, 17, "data"))
    assert len(set(digests)) == 3


def test_frozen_phase_changes_the_head_alone_and_says_what_it_sees(tiny, caplog):
    train, validation, params = tiny
    epochs = params.epochs.model_copy(update={"head": 2, "fine_tune": 0})
    params = params.model_copy(update={"epochs": epochs})
    steps.start_tensorflow(17, params.threads)
    untouched = few_layers(params).features.get_weights()
    with caplog.at_level("INFO"):
        fitted = fit.fit_model(train, validation, params, 17)
    assert "crops, flips and train.augment apply in fine_tune alone" in caplog.text
    trained = fitted.model.get_layer("backbone").get_weights()
    for old, new in zip(untouched, trained, strict=True):
        np.testing.assert_array_equal(old, new)
    assert [row["phase"] for row in fitted.history] == ["head", "head"]


def test_frozen_layers_stay_and_the_last_ones_learn(tiny):
    train, validation, params = tiny
    steps.start_tensorflow(17, params.threads)
    before = few_layers(params).features.get_weights()  # kernel, bias; then of normalisation
    last_two = params.model_copy(update={"unfreeze": 2})  # normalisation and pooling
    fitted = fit.fit_model(train, validation, last_two, 17)
    after = fitted.model.get_layer("backbone").get_weights()
    for old, new in zip(before[:2], after[:2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(before[2] - after[2]).max() > 0


def test_class_weights_make_up_for_rarity(tiny):
    train, validation, params = tiny
    rare = [i for i in range(16) if i % 2 or i in (0, 2)]  # 2 dark, 8 bright
    few = Examples([train.images[i] for i in rare], train.targets[rare])
    plain, balanced = (
        fit.fit_model(few, validation, params.model_copy(update={"class_weights": how}), 17)
        for how in ("none", "balanced")
    )
    shares = [fitted.predict(validation.images).mean(axis=0) for fitted in (plain, balanced)]
    assert shares[1][0] > shares[0][0]


BY_HAND = pytest.mark.skipif("ALL_BACKBONES" not in os.environ, reason="slow; set ALL_BACKBONES=1")


@pytest.mark.parametrize(
    ("backbone", "size_px", "unfreeze"),
    [
        pytest.param("MobileNet", 32, 4, id="MobileNet, the last four"),
        pytest.param("MobileNet", 32, None, id="MobileNet, as NIMA", marks=BY_HAND),
        pytest.param("VGG16", 32, 4, id="VGG16, the last four", marks=BY_HAND),
        pytest.param("ResNet50", 32, 4, id="ResNet50", marks=BY_HAND),
        pytest.param("EfficientNetB0", 32, None, id="EfficientNetB0", marks=BY_HAND),
        pytest.param("bundled", 128, None, id="bundled", marks=BY_HAND),
        pytest.param("small", 32, None, id="small", marks=BY_HAND),
    ],
)
def test_a_backbone_learns_and_its_export_agrees(values, tmp_path, backbone, size_px, unfreeze):
    values["train"] |= {
        "task": "rating", "backbone": backbone, "image_size": size_px, "unfreeze": unfreeze,
        "dropout": 0.75, "batch_size": 4, "epochs": {"head": 1, "fine_tune": 1},
        "learning_rate": {"head": 0.001, "fine_tune": 0.0001},
        "alpha": 0.25 if backbone == "MobileNet" else None,
    }  # fmt: skip
    rng = np.random.default_rng(5)
    images = list(rng.integers(0, 256, (12, 150, 140, 3)).astype(np.uint8))
    scores = rng.dirichlet(np.ones(10), 12).astype(np.float32)
    train, validation = (Examples(images[s], scores[s]) for s in (slice(8), slice(8, 12)))
    fitted = fit.fit_model(train, validation, check_params(values, Params).train, 17)
    assert [row["phase"] for row in fitted.history] == ["head", "fine_tune"]
    probe = np.stack([inputs.views(i, size_px, fitted.rule)[0] for i in images]).astype(np.float32)
    card = {"task": "rating", "classes": [],
            "scale": {"low": 1.0, "high": 10.0, "bins": 10}, "preprocess": [],
            "input": {"size_px": size_px, "rule": fitted.rule}}  # fmt: skip
    assert write_model(tmp_path, fitted.model, card, probe) < 1e-4
    loaded = SavedModel.load(tmp_path).predict(images)
    np.testing.assert_allclose(loaded, fitted.predict(images), atol=1e-4)


def test_fine_tuning_that_does_harm_is_not_kept(tiny):
    train, validation, params = tiny
    swapped = Examples(validation.images, validation.targets[:, ::-1])  # learning harms
    rates = params.learning_rate.model_copy(update={"head": 0.1, "fine_tune": 0.1})
    head, both = (
        fit.fit_model(
            train, swapped, params.model_copy(update={"epochs": epochs, "learning_rate": rates}), 17
        )
        for epochs in (
            params.epochs.model_copy(update={"head": 2, "fine_tune": fine_tune})
            for fine_tune in (0, 2)
        )
    )
    assert [row["phase"] for row in both.history] == ["head"] * 2 + ["fine_tune"] * 2
    assert both.best == head.best
    for one, other in zip(both.model.get_weights(), head.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_stops_when_validation_gets_no_better(tiny):
    train, validation, params = tiny
    swapped = Examples(validation.images, validation.targets[:, ::-1])  # learning harms
    changes = {
        "epochs": params.epochs.model_copy(update={"head": 6, "fine_tune": 0}),
        "learning_rate": params.learning_rate.model_copy(update={"head": 0.1}),
        "patience": 2,
    }
    fitted = fit.fit_model(train, swapped, params.model_copy(update=changes), 17)
    assert fitted.best["epoch"] + 2 == len(fitted.history) < 6


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        pytest.param({"weights": "imagenet"}, True, id="pretrained"),
        pytest.param({"backbone": "bundled"}, True, id="bundled"),
        pytest.param({"weights": "imagenet", "fine_tune": 1e-4}, False, id="lower"),
        pytest.param({"weights": "imagenet", "epochs": 0}, False, id="head alone"),
        pytest.param({}, False, id="from nothing"),
    ],
)
def test_a_high_learning_rate_for_a_pretrained_network_is_warned_of(
    params, caplog, changes, warned
):
    rates = params.train.learning_rate.model_copy(
        update={"head": 0.001, "fine_tune": changes.get("fine_tune", 0.005)}
    )
    epochs = params.train.epochs.model_copy(update={"fine_tune": changes.get("epochs", 3)})
    given = {name: changes[name] for name in ("weights", "backbone") if name in changes}
    update = given | {"learning_rate": rates, "epochs": epochs}
    fit.check_learning_rate(params.train.model_copy(update=update))
    assert ("0.005 against 0.001" in caplog.text) == warned


def test_too_little_memory_says_what_to_lower(tiny, monkeypatch):
    import tensorflow as tf

    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr("darkroom.models.training.phases.build_train_step", lambda *_: exhausted)
    train, validation, params = tiny
    with pytest.raises(UserError, match=r"head with train.batch_size 8 and .* 32; lower .*OOM"):
        fit.fit_model(train, validation, params, 17)


def test_without_epochs_the_model_is_a_plain_guess(tiny):
    train, validation, params = tiny
    none = params.epochs.model_copy(update={"head": 0, "fine_tune": 0})
    fitted = fit.fit_model(train, validation, params.model_copy(update={"epochs": none}), 17)
    np.testing.assert_allclose(fitted.predict(validation.images), 0.5)
    assert fitted.history == []
    assert fitted.best is None


@pytest.mark.parametrize(
    ("part", "word"),
    [
        pytest.param("train", "train split", id="nothing to train on"),
        pytest.param("validation", "validation split", id="nothing to stop by"),
    ],
)
def test_nothing_to_learn_from_is_said(tiny, part, word):
    train, validation, params = tiny
    empty = Examples([], np.zeros((0, 2), np.float32))
    parts = {"train": train, "validation": validation} | {part: empty}
    with pytest.raises(UserError, match=word):
        fit.fit_model(**parts, params=params, seed=17)


def test_targets_that_are_no_distribution_are_said(tiny):
    train, validation, params = tiny
    for wrong in (np.nan, 2.0):
        targets = train.targets.copy()
        targets[3, 0] = wrong
        with pytest.raises(UserError, match="sum to 1"):
            fit.fit_model(Examples(train.images, targets), validation, params, 17)
