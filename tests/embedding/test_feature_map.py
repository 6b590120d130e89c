"""The layer that is read and how it is pooled; what cannot be had is said before any work."""

from math import ceil, floor

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.embedding import feature_map

# Keras 3.15 saves TensorFlow variables through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pooled_plainly(features, size):
    """Pool one map (h, w, c) as PyTorch documents AdaptiveMaxPool2d and AdaptiveAvgPool2d."""
    height, width, channels = features.shape
    pooled = np.zeros((2, channels, size, size))
    for row in range(size):
        for column in range(size):
            top, bottom = floor(row * height / size), ceil((row + 1) * height / size)
            left, right = floor(column * width / size), ceil((column + 1) * width / size)
            for channel in range(channels):
                values = features[top:bottom, left:right, channel]
                pooled[0, channel, row, column] = values.max()
                pooled[1, channel, row, column] = values.mean()
    return pooled.reshape(-1)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pooling_is_adaptive_maxima_then_means(size):
    features = np.random.default_rng(size).normal(size=(3, 7, 5, 4)).astype(np.float32)
    pooled = np.asarray(feature_map.pool(features, size))
    assert pooled.shape == (3, 2 * 4 * size**2)
    np.testing.assert_allclose(pooled, [pooled_plainly(f, size) for f in features], rtol=1e-5)


@pytest.fixture(scope="module")
def network():
    import keras

    return keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=None
    )


def test_a_layer_is_read_by_name_and_null_is_the_last_map(network):
    assert feature_map.feature_map(network, None).shape == (None, 7, 7, 1280)
    assert feature_map.feature_map(network, "block_6_expand_relu").shape == (None, 28, 28, 96)


def test_a_layer_that_does_not_exist_names_near_ones(network):
    with pytest.raises(UserError, match=r"embed\.layer: .*block_6_expand_relu"):
        feature_map.feature_map(network, "block_6_relu")


def test_a_layer_that_is_no_feature_map_is_refused():
    import keras

    image = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(4, 3, name="features")(image)
    flat = keras.layers.GlobalAveragePooling2D(name="flat")(features)
    with pytest.raises(UserError, match=r"'flat', which is none; perhaps .*features"):
        feature_map.feature_map(keras.Model(image, flat), "flat")


def embed_params(values, **changes):
    values["embed"] |= changes
    return check_params(values, Params).embed


def test_more_parts_than_the_map_has_places_are_refused(values, monkeypatch, tmp_path, network):
    monkeypatch.setattr(feature_map, "build_application", lambda *_: network)
    params = embed_params(values, network="MobileNetV2", alpha=0.35, pool_size=8)
    with pytest.raises(UserError, match=r"embed\.pool_size: expected at most 7, .* got 8"):
        feature_map.export_application(params, tmp_path / "network.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        pytest.param(
            {"network": "MobileNetV9"}, r"embed\.network: expected bundled or .*MobileNetV3Small",
            id="unknown network",
        ),
        pytest.param(
            {"network": "VGG16", "alpha": 0.5}, r"embed\.alpha: VGG16 has no width",
            id="no width",
        ),
        pytest.param(
            {"network": "MobileNetV2", "alpha": 0.36}, r"embed: .*alpha 0\.36", id="no such width"
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said(values, tmp_path, changes, word):
    with pytest.raises(UserError, match=word):
        feature_map.export_application(embed_params(values, **changes), tmp_path / "n.tflite")


def test_sizes_are_those_that_keras_takes_by_default(monkeypatch):
    import inspect

    import keras
    from keras.src.applications import imagenet_utils

    asked = []

    def note(*_, default_size, **__):
        asked.append(default_size)
        raise InterruptedError

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", note)
    for name, make in vars(keras.applications).items():
        # MobileNetV3 has its 224 in its text alone.
        if inspect.isfunction(make) and not name.startswith("MobileNetV3"):
            with pytest.raises(InterruptedError):
                make(include_top=False, weights=None)
            assert (name, feature_map.SIZE_PX.get(name, 224)) == (name, asked[-1])


@pytest.mark.parametrize(("length", "count"), [(7, 1), (7, 2), (7, 7), (14, 4), (5, 3)])
def test_bins_cover_everything_and_none_is_empty(length, count):
    slices = feature_map.bins(length, count)
    assert len(slices) == count
    assert all(s.start < s.stop for s in slices)
    assert {place for s in slices for place in range(length)[s]} == set(range(length))
