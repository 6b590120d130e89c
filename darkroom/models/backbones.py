"""Backbones and the head: `small`, `bundled`, and every network of keras.applications.

A backbone is a Keras model (n, size, size, 3) in [0, 255] → (n, d) with its own scaling inside, so
that a saved model takes plain pixels. The head is dropout and one dense softmax, as NIMA's (Talebi
and Milanfar 2018). TensorFlow is imported by the functions that need it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.core.errors import UserError
from darkroom.core.params.train import TrainParams
from darkroom.core.paths import resolve_path
from darkroom.embedding.keras_applications import build_application, scale_for
from darkroom.models.inputs import InputRule
from darkroom.models.small_backbone import build_small

if TYPE_CHECKING:
    import keras

BUNDLED = Path(__file__).parents[1] / "embedding" / "network.keras"


@dataclass(frozen=True)
class Backbone:
    """A network that makes features, and how it wants its images."""

    features: "keras.Model"  # (n, size, size, 3) in [0, 255] → (n, d)
    rule: InputRule


def input_rule(params: TrainParams) -> InputRule:
    """Return how the network that the parameters name wants its images."""
    whole = params.task == "one_class" and params.outlier_method == "autoencoder"
    return "crop" if params.backbone == "small" and not whole else "resize"


def build_backbone(params: TrainParams) -> Backbone:
    """Build the backbone that the parameters name. Raises UserError for what cannot be."""
    if params.backbone in ("small", "bundled"):
        _check_no_settings(params)
        if params.backbone == "small":
            return Backbone(build_small(params.image_size), "crop")
        return Backbone(_freeze_batch_norm(build_bundled(params.image_size)), "resize")
    network = _application(params)
    return Backbone(_freeze_batch_norm(network) if params.weights else network, "resize")


def resolve_weights(root: Path, params: TrainParams) -> TrainParams:
    """Return the parameters with `weights`, where it is a file, as a path from `root` on."""
    if params.weights in (None, "imagenet"):
        return params
    return params.model_copy(update={"weights": str(resolve_path(root, str(params.weights)))})


def _check_no_settings(params: TrainParams) -> None:
    for name in ("weights", "alpha"):
        value = getattr(params, name)
        if value is not None:
            raise UserError(
                f"params.yaml: train.{name}: expected null with train.backbone: {params.backbone},"
                f" got {value!r}; set it to null, or choose a network of keras.applications"
            )


def build_bundled(size_px: int) -> "keras.Model":
    """Return the copy-detection network up to its pooled features, before the embedding layer."""
    import keras

    if not BUNDLED.exists():
        raise UserError(
            f"{BUNDLED} is absent, and train.backbone: bundled needs it: restore it from git, or"
            " fit it with `python -m tools.fit_copy_network`"
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

    size, path = params.image_size, params.weights
    if path not in (None, "imagenet") and not Path(str(path)).is_file():
        wrong = "is no file" if Path(str(path)).exists() else "does not exist"
        raise UserError(
            f"params.yaml: train.weights: expected imagenet, null or a file, got {path!r}, which"
            f" {wrong}"
        )
    network = build_application(
        "train.backbone", params.backbone, size, params.alpha, path,
        "set train.weights to a file, or to null to train from nothing",
    )  # fmt: skip
    image = keras.Input((size, size, 3), name="image")
    scaled = scale_for("train.backbone", params.backbone, image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(network(scaled))
    return keras.Model(image, pooled, name="backbone")


def freeze_all_but_last(backbone: Backbone, last: int | None) -> None:
    """Let only the `last` layers of the backbone learn; None leaves all of them as they are.

    Layers are counted as `model.layers` of the network itself lists them, those without weights
    too, so that 4 of VGG16 are block5_conv1 to block5_pool, as in Keras' own guides. What scales
    the pixels in front of it, and the pooling behind it, are no part of it.
    """
    if last is None:
        return
    import keras

    inner = (layer for layer in backbone.features.layers if isinstance(layer, keras.Model))
    layers = next(inner, backbone.features).layers
    if last > len(layers):
        raise UserError(
            f"params.yaml: train.unfreeze: expected at most {len(layers)}, the layers of this"
            f" backbone, got {last}; set it to null to train all of them"
        )
    for layer in layers[: len(layers) - last]:
        layer.trainable = False


def _freeze_batch_norm(network: "keras.Model") -> "keras.Model":
    """Keep batch normalisation as pretrained: a small set's batches would ruin its statistics."""
    import keras

    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return network


def build_head(backbone: Backbone, outputs: int, params: TrainParams) -> "keras.Model":
    """Return the head: features (n, d) → shares (n, outputs), rows sum to 1."""
    import keras

    features = keras.Input(backbone.features.output_shape[1:], name="features")  # (n, d)
    kept = keras.layers.Dropout(params.dropout, name="dropout")(features)
    # Float32 softmax over bins or classes, begun at equal shares: the first loss is a plain guess.
    shares = keras.layers.Dense(
        outputs, activation="softmax", kernel_initializer="zeros", name="distribution"
    )(kept)
    return keras.Model(features, shares, name="head")


def attach_head(backbone: Backbone, head: "keras.Model") -> "keras.Model":
    """Return the whole network: (n, size, size, 3) in [0, 255] → (n, outputs)."""
    import keras

    image = keras.Input(backbone.features.input_shape[1:], name="image")
    return keras.Model(image, head(backbone.features(image)), name="darkroom")
