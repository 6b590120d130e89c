import numpy as np
import pytest

from darkroom.models.saved import keras_bytes
from darkroom.models.training.batch_norm_folding import fold_batch_norm

# Keras 3.15 saves TensorFlow variables through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network(keras, frozen):
    """Every kind of convolution with and without bias, inside a nested model, scaled first."""
    layers = keras.layers
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=True)(image)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Conv2D(4, 1, groups=2, dilation_rate=1)(x)
    both = layers.BatchNormalization(center=False)(x)
    x = layers.Concatenate()([both, x])  # the convolution's own output is wanted as well
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.BatchNormalization()(x)  # behind an activation: stays
    inner = keras.Model(image, x)
    outer = keras.Input((12, 12, 3))
    pooled = layers.GlobalAveragePooling2D()(inner(outer / 127.5 - 1.0))
    model = keras.Model(outer, layers.Dense(3, activation="softmax")(pooled))
    rng = np.random.default_rng(3)
    for layer in inner.layers:
        if isinstance(layer, layers_of(keras)):
            layer.set_weights([rng.uniform(0.2, 2, w.shape) for w in layer.get_weights()])
            layer.trainable = not frozen
    return model


def layers_of(keras):
    return keras.layers.BatchNormalization


def normalisations(keras, model):
    return sum(isinstance(layer, layers_of(keras)) for layer in model._flatten_layers())


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3)).astype(np.float32)


def gradients(model, variables, images, training):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images, training=training)[:, 0] ** 2)
    return [np.asarray(g) for g in tape.gradient(loss, variables)]


def test_outputs_and_gradients_stay(images):
    import keras

    model = network(keras, frozen=True)
    before = keras_bytes(model)
    quick = fold_batch_norm(model, training=True)
    np.testing.assert_allclose(quick(images), model(images), rtol=1e-4, atol=1e-6)
    plain, folded = (gradients(m, model.trainable_variables, images, True) for m in (model, quick))
    for one, other in zip(plain, folded, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)
    assert keras_bytes(model) == before, "the given model is what is saved"


def test_what_learns_its_statistics_is_not_folded(images):
    import keras

    model = network(keras, frozen=False)
    quick = fold_batch_norm(model, training=True)
    old = model.get_weights()
    expected = np.asarray(model(images, training=True))
    model.set_weights(old)
    np.testing.assert_array_equal(quick(images, training=True), expected)
    assert any((a != b).any() for a, b in zip(old, model.get_weights(), strict=True))
    whole = fold_batch_norm(model, training=False)
    np.testing.assert_allclose(whole(images), model(images), rtol=1e-4, atol=1e-6)
    assert normalisations(keras, whole) < normalisations(keras, model)


def test_later_weights_count(images):
    import keras

    model = network(keras, frozen=True)
    quick = fold_batch_norm(model, training=True)
    model.set_weights([w * 1.1 for w in model.get_weights()])
    np.testing.assert_allclose(quick(images), model(images), rtol=1e-4, atol=1e-6)
