from http.client import IncompleteRead
from urllib.error import URLError

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.models import backbones, small_backbone

# Keras 3.15 saves TensorFlow variables through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def train_params(values, **changes):
    values["train"] |= changes
    return check_params(values, Params).train


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        pytest.param({"backbone": "MobileNetV9"}, "MobileNetV3Small", id="unknown network"),
        pytest.param({"weights": "imagenet"}, "train.weights", id="small has no weights"),
        pytest.param({"alpha": 0.5}, "train.alpha", id="small has no width"),
        pytest.param(
            {"backbone": "VGG16", "alpha": 0.5}, "VGG16 has no width", id="VGG16 has no width"
        ),
        pytest.param(
            {"backbone": "MobileNetV2", "image_size": 16},
            "image_size: expected at least 32",
            id="too small",
        ),
        pytest.param(
            {"backbone": "MobileNetV2", "weights": "nowhere.h5"}, "nowhere.h5", id="absent weights"
        ),
        pytest.param(
            {"image_size": 31}, "image_size: expected at least 32", id="too small for small"
        ),
        pytest.param(
            {"backbone": "bundled", "image_size": 17}, "image_size: expected 128", id="own size"
        ),
    ],
)
def test_what_cannot_be_built_is_said(values, changes, word):
    with pytest.raises(UserError, match=word):
        backbones.build_backbone(train_params(values, **changes))


@pytest.mark.parametrize(
    "trouble",
    [URLError("no route"), ConnectionResetError(104, "reset"), IncompleteRead(b"some", 9)],
    ids=["no connection", "reset midway", "cut off"],
)
def test_weights_that_cannot_be_fetched_name_the_file_and_its_place(
    values, monkeypatch, tmp_path, trouble
):
    from keras.src.utils import file_utils

    def refuse(*_, **__):
        raise trouble

    monkeypatch.setattr(file_utils, "urlretrieve", refuse)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    params = train_params(values, backbone="VGG16", weights="imagenet", image_size=32)
    wanted = tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with pytest.raises(UserError, match=f"could not be fetched. Put the file {wanted} there"):
        backbones.build_backbone(params)


def test_a_download_that_was_cut_off_is_named(values, monkeypatch, tmp_path):
    from keras.src.utils import file_utils

    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    params = train_params(
        values, backbone="MobileNetV2", alpha=0.35, weights="imagenet", image_size=224
    )
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    path = tmp_path / "models" / name
    path.parent.mkdir()
    path.write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(UserError, match=f"Delete {path} and run again"):
        backbones.build_backbone(params)


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_scaling_lies_inside_as_the_network_wants_it(values, name):
    import keras

    params = train_params(values, backbone=name, image_size=32)
    backbone = backbones.build_backbone(params)
    assert backbone.rule == "resize"
    assert backbone.features.input_shape == (None, 32, 32, 3)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    family = {"MobileNetV2": keras.applications.mobilenet_v2, "ResNet50": keras.applications.resnet}
    inner = next(layer for layer in backbone.features.layers if isinstance(layer, keras.Model))
    expected = inner(family[name].preprocess_input(image.copy()), training=False)
    np.testing.assert_allclose(
        backbone.features(image, training=False), np.mean(expected, axis=(1, 2)), rtol=1e-4
    )


def test_pretrained_statistics_stay(values, tmp_path):
    import keras

    made = keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    made.save_weights(tmp_path / "own.weights.h5")
    params = train_params(
        values, backbone="MobileNet", alpha=0.25, image_size=32,
        weights=str(tmp_path / "own.weights.h5"),
    )  # fmt: skip
    network = backbones.build_backbone(params).features
    before = [v.numpy() for v in network.non_trainable_variables]
    network(np.full((4, 32, 32, 3), 200, np.float32), training=True)
    for old, new in zip(before, network.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_bundled_gives_the_pooled_features(values):
    import keras

    size = keras.models.load_model(backbones.BUNDLED, compile=False).input_shape[1]
    backbone = backbones.build_backbone(train_params(values, backbone="bundled", image_size=size))
    assert backbone.features.output_shape == (None, 1280)
    assert backbone.rule == "resize"


def test_unfreeze_counts_the_layers_of_the_network_itself(values):
    params = train_params(values, backbone="VGG16", image_size=32)
    backbone = backbones.build_backbone(params)
    backbones.freeze_all_but_last(backbone, 4)
    names = {variable.path.split("/")[-2] for variable in backbone.features.trainable_variables}
    assert names == {"block5_conv1", "block5_conv2", "block5_conv3"}


@pytest.mark.parametrize(
    ("changes", "layers"),
    [
        pytest.param({"backbone": "VGG16", "image_size": 32}, 19, id="VGG16"),
        pytest.param({"backbone": "small", "image_size": 32}, None, id="small"),
    ],
)
def test_unfreezing_more_layers_than_there_are_is_said(values, changes, layers):
    backbone = backbones.build_backbone(train_params(values, **changes))
    layers = layers or len(backbone.features.layers)
    backbones.freeze_all_but_last(backbone, layers)
    with pytest.raises(UserError, match=f"unfreeze: expected at most {layers}, .*got {layers + 1}"):
        backbones.freeze_all_but_last(backbone, layers + 1)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_network_are_said(values, tmp_path):
    import keras

    other = keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    other.save_weights(tmp_path / "other.weights.h5")
    other.save(tmp_path / "other.keras")
    (tmp_path / "picture.h5").write_bytes(b"no weights at all")
    for name in ("other.weights.h5", "other.keras", "picture.h5"):
        params = train_params(values, backbone="VGG16", image_size=32, weights=str(tmp_path / name))
        with pytest.raises(UserError, match=f"{name}(.|\n)*weights of that network"):
            backbones.build_backbone(params)


def test_residuals_are_differences_within_each_plane():
    image = np.random.default_rng(0).uniform(0, 255, (1, 9, 8, 3)).astype(np.float32)
    found = np.asarray(small_backbone._residuals(image, small_backbone.PLANES))  # (1, 7, 6, 12)
    planes = image[0] @ np.array(small_backbone.PLANES, np.float32).T  # (9, 8, 3)
    beside = planes[1:-1, 2:] - planes[1:-1, 1:-1]
    first = [0, 6, 9]  # of each plane, after six residuals of brightness and three of a colour
    np.testing.assert_allclose(found[0][..., first], beside, atol=1e-3)


def test_the_spread_of_maps_is_their_deviation():
    maps = np.random.default_rng(0).normal(5, 2, (2, 6, 7, 3)).astype(np.float32)
    mean, spread = small_backbone._mean_and_spread(maps)
    np.testing.assert_allclose(mean, maps.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(spread, np.sqrt(maps.var((1, 2)) + 1e-3), rtol=1e-5)
