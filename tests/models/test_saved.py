import json
import shutil
import zipfile

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.filters.preprocess import preprocess, read_steps
from darkroom.models import saved
from darkroom.models.backbones import build_backbone
from darkroom.models.one_class.scores import Scorer, to_bytes
from tests.harness import read_values

# Keras 3.15 saves TensorFlow variables through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CARD = {
    "task": "rating",
    "classes": [],
    "scale": {"low": 0.0, "high": 1.0, "bins": 5},
    "preprocess": [],
    "input": {"size_px": 64, "rule": "crop"},
}


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(3)
    backbone = build_backbone(check_params(read_values(), Params).train)
    image = keras.Input((64, 64, 3))
    shares = keras.layers.Dense(5, activation="softmax")(backbone.features(image))
    return keras.Model(image, shares)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((64, 64), (80, 130))]


@pytest.fixture(scope="module")
def probe(images):
    return np.stack([image[:64, :64] for image in images]).astype(np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory, model, probe):
    """Return the folder of the saved model, and how far its two networks differ."""
    folder = tmp_path_factory.mktemp("written")
    return folder, saved.write_model(folder, model, CARD, probe)


@pytest.fixture
def rewrite(written, tmp_path):
    """Return a function that copies the saved model with changes of its card, and a scorer."""

    def copy(folder=tmp_path / "model", scorer=None, **changes):
        shutil.copytree(written[0], folder)
        (folder / saved.CARD).write_text(json.dumps(CARD | changes))
        if scorer:
            (folder / saved.SCORER).write_bytes(to_bytes(scorer))
        return folder

    return copy


def test_both_networks_agree_and_files_repeat(tmp_path, model, images, probe, written):
    import keras

    folder, difference = written
    assert difference < 1e-5
    saved.write_model(tmp_path, model, CARD, probe)
    for name in (saved.KERAS, saved.LITE, saved.CARD):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
    again = keras.models.load_model(folder / saved.KERAS, compile=False)
    np.testing.assert_array_equal(again(probe, training=False), model(probe, training=False))

    loaded = saved.SavedModel.load(folder)
    assert (loaded.task, loaded.classes, loaded.scale.bins) == ("rating", (), 5)
    predicted = loaded.predict(iter(images))
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(predicted[0], model(probe[:1], training=False)[0], atol=1e-5)
    np.testing.assert_allclose(loaded.predict(images[:1])[0], predicted[0], atol=1e-6)
    assert loaded.predict([]).shape == (0, 5)


def test_prepared_input_is_applied_before_the_model(rewrite, written, images):
    steps = read_steps([{"filter": "median", "size_px": 5, "on": "grey"}], "params.yaml")
    plain = saved.SavedModel.load(written[0])
    prepared = saved.SavedModel.load(rewrite(preprocess=steps))
    filtered = [preprocess(image, steps) for image in images]
    np.testing.assert_array_equal(prepared.predict(images), plain.predict(filtered))
    assert not np.array_equal(prepared.predict(images), plain.predict(images))


def test_networks_that_differ_are_not_published(tmp_path, monkeypatch):
    import keras

    monkeypatch.setattr(saved, "MAX_DIFFERENCE", -1.0)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    with pytest.raises(RuntimeError, match="cannot be trusted"):
        saved.write_model(tmp_path, model, CARD, np.zeros((1, 8, 8, 3), np.float32))
    assert not list(tmp_path.iterdir())


def test_keras_file_holds_no_time_and_no_address(model):
    content = saved.keras_bytes(model)
    import io

    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(file.read("metadata.json"))["date_saved"].startswith("1980")
        shared = [int(part.split(",")[0].split("}")[0]) for part in
                  file.read("config.json").decode().split('"shared_object_id": ')[1:]]  # fmt: skip
    assert shared
    assert max(shared) <= len(shared)


def test_none_loads_and_does_not_predict(tmp_path):
    (tmp_path / saved.LITE).write_bytes(b"of an earlier task")
    saved.write_none(tmp_path)
    loaded = saved.SavedModel.load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [saved.CARD]
    assert loaded.task == "none"
    with pytest.raises(UserError, match=r"train\.task"):
        loaded.predict([])


def test_absent_model_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        saved.SavedModel.load(tmp_path)


def test_files_of_different_models_are_said(rewrite, images):
    folder = rewrite(task="classification", scale=None, classes=["a", "b", "c"])
    with pytest.raises(UserError, match=r"expected 3 outputs, .* classification model, got 5"):
        saved.SavedModel.load(folder).predict(images)


def make_scorer(method="deep", width=5):
    arrays = {
        "deep": {"templates": np.zeros((3, width), np.float32)},
        "mahalanobis": {"mean": np.zeros(width), "precision": np.eye(width)},
        "isolation_forest": {"feature": np.array([-1, width - 1])},
        "autoencoder": {},
    }
    return Scorer(method, arrays[method], np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("method", "width", "fits"),
    [("deep", 5, True), ("deep", 6, False), ("mahalanobis", 4, False), ("autoencoder", 1, False),
     ("isolation_forest", 6, False)],
)  # fmt: skip
def test_a_scorer_of_another_network_is_said(rewrite, images, method, width, fits):
    scorer = make_scorer(method, width)
    folder = rewrite(scorer=scorer, task="one_class", scale=None, outlier_method=method)
    loaded = saved.SavedModel.load(folder)
    if fits:
        assert loaded.predict(images).shape == (len(images), 1)
        return
    with pytest.raises(UserError, match=rf"its 5 outputs .* {method}, .*different models"):
        loaded.predict(images)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(lambda whole: b"nothing", "is no whole scorer", id="garbage"),
        pytest.param(lambda whole: whole[:100], "is no whole scorer", id="truncated"),
        pytest.param(lambda whole: to_bytes(Scorer("autoencoder", {}, np.zeros(2))),
                     "expected deep, .* got autoencoder", id="of another method"),
    ],
)  # fmt: skip
def test_a_scorer_that_is_none_is_said(rewrite, content, words):
    folder = rewrite(scorer=make_scorer(), task="one_class", scale=None, outlier_method="deep")
    path = folder / saved.SCORER
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(UserError, match=rf"scorer\.npz:? {words}"):
        saved.SavedModel.load(folder)


def test_a_network_of_another_size_than_the_card_says_is_refused(rewrite, images):
    folder = rewrite(input={"size_px": 48, "rule": "crop"})
    with pytest.raises(UserError, match=r"expected images of \(48, 48, 3\), .* \(64, 64, 3\)"):
        saved.SavedModel.load(folder).predict(images)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        pytest.param(CARD | {"input": {"size_px": 0, "rule": "crop"}},
                     "is no description of a model", id="no size"),
        pytest.param(CARD | {"input": {"size_px": 64, "rule": "squash"}},
                     "is no description of a model", id="no rule"),
        pytest.param(CARD | {"preprocess": [{"filter": "sharpen"}]},
                     r"preprocess\[0\].filter: expected one of", id="no filter"),
        pytest.param({"task": "segmentation"}, "expected a model of rating", id="unknown"),
        pytest.param({}, "is no description of a model", id="none"),
    ],
)  # fmt: skip
def test_a_card_of_no_task_that_is_known_is_said(tmp_path, card, words):
    (tmp_path / saved.CARD).write_text(json.dumps(card))
    with pytest.raises(UserError, match=rf"model\.json:? {words}"):
        saved.SavedModel.load(tmp_path)
