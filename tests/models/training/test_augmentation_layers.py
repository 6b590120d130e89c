import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.models.training.augmentation_layers import LAYERS, build_augmenter

FACTORS = {
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
    "RandomShear": {"x_factor": 0.2},
    "RandomPosterization": {"factor": 4},
}
NEED_ONE = {
    "RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomHue", "RandomRotation",
    "RandomSaturation", "RandomSharpness",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_keeps_shape_and_range_and_repeats_itself(name):
    values = FACTORS.get(name, {"factor": 0.3} if name in NEED_ONE else {})
    steps = [{"layer": name, **values}]
    batch = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    first, second = (
        np.asarray(build_augmenter(steps, "classification", 3)(batch, training=True))
        for _ in range(2)
    )
    assert first.shape == batch.shape
    assert first.min() >= -0.01
    assert first.max() <= 255.01
    assert np.array_equal(first, second)


def test_two_layers_of_one_name_are_said():
    steps = [{"layer": "RandomFlip", "name": "a"}] * 2
    with pytest.raises(UserError, match=r"params.yaml: train.augment: .*unique names. Name 'a'"):
        build_augmenter(steps, "classification", 3)


def test_no_layer_is_no_augmenter():
    assert build_augmenter([], "rating", 3) is None


@pytest.mark.parametrize(
    ("task", "step", "message"),
    [
        (
            "classification",
            {"layer": "RandomTwist"},
            r"augment\[0\]\.layer: expected one of AutoContrast",
        ),
        ("classification", {"layer": "MixUp"}, "got 'MixUp'"),
        ("classification", {"factor": 1}, "got None"),
        (
            "classification",
            {"layer": "RandomRotation"},
            "RandomRotation does not take this.*factor",
        ),
        ("classification", {"layer": "RandomRotation", "facter": 1}, "does not take this"),
        (
            "classification",
            {"layer": "RandomFlip", "mode": "sideways"},
            "mode: expected horizontal, vertical",
        ),
        (
            "classification",
            {"layer": "RandomRotation", "factor": 0.1, "fill_mode": "mirror"},
            "does not take this.*mirror",
        ),
        (
            "classification",
            {"layer": "RandomBrightness", "factor": 0.1, "value_range": [0, 1]},
            r"in \[0, 255\]; leave out value_range",
        ),
        ("rating", {"layer": "RandomRotation", "factor": 0.1}, "no longer true"),
        ("rating", {"layer": "RandomFlip"}, "Label-true is {layer: RandomFlip, mode: horizontal}"),
    ],
)
def test_a_wrong_step_is_explained(task, step, message):
    with pytest.raises(UserError, match=message):
        build_augmenter([step], task, 3)


def test_ratings_may_be_flipped():
    assert build_augmenter([{"layer": "RandomFlip", "mode": "horizontal"}], "rating", 3)
