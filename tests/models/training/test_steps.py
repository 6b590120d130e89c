import subprocess
import sys

import numpy as np
import pytest

from darkroom.models.training import fit, steps

# Keras 3.15 saves TensorFlow variables through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TWO_DEVICES = """
import sys
from darkroom.models import losses
from darkroom.models.training import steps
steps.start_tensorflow(1, 2)
assert "sklearn" not in sys.modules  # neither imported by Keras nor barred
import numpy as np, keras, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
logical = tf.config.list_logical_devices
tf.config.list_logical_devices = lambda kind: logical("CPU")[:wanted]
rng = np.random.default_rng(0)
batches = [(rng.integers(0, 256, (n, 8, 8, 3), np.uint8),
            np.eye(2, dtype=np.float32)[rng.integers(0, 2, n)]) for n in (6, 5, 1, 6)]
results = {}
for mixed, wanted in ((False, 1), (False, 2), (True, 1), (True, 2)):
    keras.utils.set_random_seed(1)
    with steps.distribute_over_gpus() as devices:
        assert devices == wanted
        image = keras.Input((8, 8, 3))
        maps = keras.layers.Conv2D(4, 3, activation="relu")(image / 255.0)
        pooled = keras.layers.GlobalAveragePooling2D()(maps)
        model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(pooled))
        optimizer = steps.build_optimizer(0.05, 4, model.trainable_variables, mixed=mixed)
        step = steps.build_train_step(model, optimizer, losses.cross_entropy, None)
        steps_losses = [float(step(*batch)) for batch in batches]
    kernels = steps.rebuild(model, mixed=False).get_weights()
    results[mixed, wanted] = steps_losses, np.concatenate([k.ravel() for k in kernels])
for mixed in (False, True):
    for one, two in zip(results[mixed, 1], results[mixed, 2]):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    assert len(set(results[mixed, 1][0])) == 4
print("equal")
"""


def test_the_learning_rate_falls_to_zero_along_a_cosine():
    import keras

    variable = keras.Variable(np.zeros(1, np.float32))
    optimizer, rates = steps.build_optimizer(0.1, 4, [variable], mixed=False), []
    for _ in range(5):
        rates.append(float(np.asarray(optimizer.learning_rate)))
        optimizer.apply([np.ones(1, np.float32)], [variable])
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(5) / 4)), atol=1e-9)


def test_two_devices_train_as_one():
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr[-3000:]


def test_mixed_trains_and_leaves_a_float32_model(tiny, fitted, monkeypatch):
    train, validation, params = tiny
    half = params.model_copy(update={"precision": "mixed", "backbone": "MobileNetV2"})
    used = []

    def remember(model, *rest):
        used.extend(layer.compute_dtype for layer in model._flatten_layers())
        return steps.build_train_step(model, *rest)

    monkeypatch.setattr("darkroom.models.training.phases.build_train_step", remember)
    in_half = fit.fit_model(train, validation, half, 17)
    assert {"float16", "float32"} <= set(used)
    assert in_half.model.get_layer("backbone").count_params() == 128
    assert {layer.compute_dtype for layer in in_half.model._flatten_layers()} == {"float32"}
    losses = [[row["val_loss"] for row in each.history] for each in (in_half, fitted)]
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(*losses, atol=0.05)
