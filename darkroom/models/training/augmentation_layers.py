"""Augmentation while training: Keras' own preprocessing layers, by `train.augment`.

For those who prefer it to the stage augment, which writes its images to shards: here every epoch
sees other images, and none is kept. A step is `{layer: RandomRotation, factor: 0.05}`: the name of
a layer in `keras.layers` and its arguments. It applies in fine-tuning alone, since the frozen phase
works on cached features.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from darkroom.core.errors import UserError
from darkroom.core.randomness import digest_number

if TYPE_CHECKING:
    import keras

# Those that work on images alone (CutMix and MixUp mix labels), repeat themselves for a seed
# (AugMix does not) and can stand in a chain (Equalization cannot).
LAYERS = (
    "AutoContrast", "RandAugment", "RandomBrightness",
    "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue",
    "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation",
    "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
    "Solarization",
)  # fmt: skip
FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")
WHERE = "params.yaml: train.augment"


def build_augmenter(
    steps: Sequence[Mapping[str, Any]], task: str, seed: int
) -> "keras.Sequential | None":
    """Return the layers in order, None without any. Raises UserError for a step that cannot be.

    The layers map (b, size, size, 3) float32 in [0, 255] to the same.
    """
    if not steps:
        return None
    import keras

    layers = [_build(f"{WHERE}[{n}]", step, task, seed, n) for n, step in enumerate(steps)]
    try:
        return keras.Sequential(layers, name="augmenter")
    except ValueError as error:  # of two with one name
        raise UserError(f"{WHERE}: keras does not join these layers: {error}") from error


def _build(where: str, step: Mapping[str, Any], task: str, seed: int, number: int) -> Any:
    import keras

    name = step.get("layer")
    values = {key: value for key, value in step.items() if key != "layer"}
    if name not in LAYERS:
        raise UserError(f"{where}.layer: expected one of {', '.join(LAYERS)}; got {name!r}")
    if task == "rating" and (name, values.get("mode")) != ("RandomFlip", "horizontal"):
        raise UserError(
            f"{where}: after {name} the ratings of train.task: rating are no longer true (it"
            " interpolates or changes values, which lowers quality). Label-true is"
            " {layer: RandomFlip, mode: horizontal}."
        )
    if values.get("mode", "horizontal") not in FLIPS:  # Keras passes any, and then flips nothing
        raise UserError(f"{where}.mode: expected {', '.join(FLIPS)}; got {values['mode']!r}")
    if values.get("value_range", [0, 255]) != [0, 255] or "data_format" in values:
        raise UserError(
            f"{where}: images are (b, size, size, 3) in [0, 255]; leave out value_range and"
            " data_format"
        )
    if "seed" not in values and name != "AutoContrast":
        values["seed"] = digest_number(seed, "train.augment", number) % 2**31
    try:
        layer = getattr(keras.layers, name)(**values)
        layer(np.zeros((1, 32, 32, 3), np.float32), training=True)
    except (TypeError, ValueError, NotImplementedError) as error:  # the last for `fill_mode`
        raise UserError(f"{where}: keras.layers.{name} does not take this: {error}") from error
    return layer
