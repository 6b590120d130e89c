"""From pixels to features: `small`, `bundled`, and every network of keras.applications.

Each is a Keras model (n, size, size, 3) in [0, 255] → (n, d) with its own scaling inside, so that
a saved model takes plain pixels. TensorFlow is imported by the functions that need it.
"""

import inspect
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from stages.lib.failures import UserError
from stages.lib.params import TrainParams
from stages.models.inputs import Rule
from stages.models.small import SMALLEST_PX, build_small

if TYPE_CHECKING:
    import keras

BUNDLED = Path(__file__).parents[1] / "embedding" / "network.keras"


@dataclass(frozen=True)
class Backbone:
    """A network that makes features, and how it wants its images."""

    features: "keras.Model"  # (n, size, size, 3) in [0, 255] → (n, d)
    rule: Rule


def build_backbone(params: TrainParams) -> Backbone:
    """Build the backbone that the parameters name. Raises UserError for what cannot be."""
    if params.backbone in ("small", "bundled"):
        _refuse_settings(params)
        if params.backbone == "small":
            if params.image_size < SMALLEST_PX:
                raise UserError(
                    f"params.yaml: train.image_size: expected at least {SMALLEST_PX} with"
                    f" train.backbone: small, got {params.image_size}"
                )
            return Backbone(build_small(params.image_size), "crop")
        return Backbone(_freeze_statistics(bundled(params.image_size)), "resize")
    network = _application(params)
    return Backbone(_freeze_statistics(network) if params.weights else network, "resize")


def _refuse_settings(params: TrainParams) -> None:
    for name in ("weights", "alpha"):
        value = getattr(params, name)
        if value is not None:
            raise UserError(
                f"params.yaml: train.{name}: expected null with train.backbone: {params.backbone},"
                f" got {value!r}; set it to null, or choose a network of keras.applications"
            )


def bundled(size_px: int) -> "keras.Model":
    """Return the copy-detection network up to its pooled features, before the embedding layer."""
    import keras

    if not BUNDLED.exists():
        raise UserError(
            f"{BUNDLED} is absent, and train.backbone: bundled needs it: restore it from git, or"
            " fit it with `python -m stages.embedding.fit`"
        )
    network = keras.models.load_model(BUNDLED, compile=False)
    own = int(network.input_shape[1])
    if size_px != own:
        raise UserError(
            f"params.yaml: train.image_size: expected {own} with train.backbone: bundled, whose"
            f" input has that size, got {size_px}"
        )
    return keras.Model(network.input, network.get_layer("embedding").input, name="bundled")


def _application(params: TrainParams) -> "keras.Model":
    """Build a network of keras.applications behind its own scaling, pooled by the mean."""
    import keras

    make = _find_application(params.backbone)
    size = params.image_size
    settings = {"include_top": False, "input_shape": (size, size, 3), "weights": params.weights}
    if params.alpha is not None:
        if "alpha" not in inspect.signature(make).parameters:
            raise UserError(
                f"params.yaml: train.alpha: {params.backbone} has no width to choose, got"
                f" {params.alpha}; set train.alpha to null"
            )
        settings["alpha"] = params.alpha
    network = _with_weights(make, settings, params)
    image = keras.Input((size, size, 3), name="image")
    scaled = sys.modules[make.__module__].preprocess_input(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(network(scaled))
    return keras.Model(image, pooled, name="backbone")


def _find_application(name: str) -> Any:
    import keras

    known = {n: f for n, f in vars(keras.applications).items() if inspect.isfunction(f)}
    if name not in known:
        raise UserError(
            f"params.yaml: train.backbone: expected small, bundled or a network of"
            f" keras.applications ({', '.join(sorted(known))}), got {name!r}"
        )
    return known[name]


def _with_weights(make: Any, settings: dict[str, Any], params: TrainParams) -> Any:
    """Build the network, telling apart what Keras cannot fetch, read or build."""
    path = params.weights
    if path not in (None, "imagenet") and not Path(str(path)).exists():
        raise UserError(
            f"params.yaml: train.weights: expected imagenet, null or a file, got {path!r}, which"
            " does not exist"
        )
    try:
        return make(**settings)
    except ValueError as error:
        raise UserError(
            f"params.yaml: train: keras cannot build {params.backbone} with image_size"
            f" {params.image_size}, alpha {params.alpha}, weights {path!r}: {error}"
        ) from error
    except Exception as error:  # keras raises a bare Exception when a download fails
        if "URL fetch failure" not in str(error):
            raise
        raise UserError(
            f"{error}\nThe weights of {params.backbone} could not be fetched. Put the file"
            f" {_file_wanted(error)} there yourself (from a machine with a connection), or set"
            " train.weights to a file, or to null to train from nothing."
        ) from error


def _file_wanted(error: Exception) -> Path:
    """Return where Keras looks for the file that it could not fetch.

    The name is an argument of `get_file`, and not always the last part of the address.
    """
    trace = error.__traceback__
    frame: FrameType | None = None
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "get_file":
            frame = trace.tb_frame
        trace = trace.tb_next
    name = str(frame.f_locals.get("fname")) if frame else str(error).split()[4].rsplit("/", 1)[-1]
    home = os.environ.get("KERAS_HOME", "~/.keras")
    return Path(home).expanduser() / "models" / name


def _freeze_statistics(network: "keras.Model") -> "keras.Model":
    """Keep batch normalisation as pretrained: a small set's batches would ruin its statistics."""
    import keras

    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return network
