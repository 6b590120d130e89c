"""The head of a model: dropout and one dense softmax, as NIMA's (Talebi and Milanfar 2018)."""

from typing import TYPE_CHECKING

from darkroom.core.params.train import TrainParams
from darkroom.models.backbones import Backbone

if TYPE_CHECKING:
    import keras


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
