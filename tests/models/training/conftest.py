"""One small training, which several tests look at or repeat."""

import numpy as np
import pytest

from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.models.training import fit
from darkroom.models.training.examples import Examples
from tests.harness import read_values
from tests.models.networks import few_layers

LAYERS = [{"layer": "RandomRotation", "factor": 0.1}, {"layer": "RandomContrast", "factor": 0.3}]


@pytest.fixture(scope="session")
def brightness():
    """Return two classes that differ in brightness, and parameters for four quick epochs."""
    values = read_values()
    values["train"] |= {
        "task": "classification", "image_size": 32, "batch_size": 8, "threads": 2,
        "epochs": {"head": 1, "fine_tune": 3},
    }  # fmt: skip
    rng = np.random.default_rng(5)
    bright = np.arange(24) % 2
    images = [(rng.integers(0, 120, (36, 40, 3)) + 130 * side).astype(np.uint8) for side in bright]
    targets = np.eye(2, dtype=np.float32)[bright]
    parts = [Examples(images[s], targets[s]) for s in (slice(0, 16), slice(16, 24))]
    return *parts, check_params(values, Params).train


@pytest.fixture
def tiny(brightness, monkeypatch):
    """Return the same, with a backbone that is built in no time."""
    monkeypatch.setattr(fit, "build_backbone", few_layers)
    return brightness


@pytest.fixture(scope="session")
def fitted(brightness):
    """Return the model that these examples and parameters lead to."""
    return fit_undisturbed(*brightness)


@pytest.fixture(scope="session")
def fitted_with_layers(brightness):
    """Return the model with `train.augment`."""
    train, validation, params = brightness
    return fit_undisturbed(train, validation, params.model_copy(update={"augment": LAYERS}))


def fit_undisturbed(train, validation, params):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "build_backbone", few_layers)
        return fit.fit_model(train, validation, params, 17)
