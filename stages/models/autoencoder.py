"""A small convolutional autoencoder, whose error says how unlike the normal images one is.

What was never seen is reconstructed badly through a narrow code (Japkowicz, Myers and Gluck 1995,
"A novelty detection approach to classification"). TensorFlow is imported by `build_autoencoder`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

FILTERS = (16, 32, 48, 64)  # one per halving of the side; params.AUTOENCODER_STEP_PX is 2**4
CODE = 16  # channels of the code, 1/48 of the image's numbers in all; chosen by us


def build_autoencoder(size_px: int, mixed: bool = False) -> "keras.Model":
    """Build the network: (n, size, size, 3) in [0, 255] → (n, 1), its mean squared error.

    The error is over all pixels and channels of the image in [0, 1]: from 0 to 1. With `mixed` all
    but what the error is made of is computed in float16.
    """
    import keras
    from keras import layers, ops

    half = "mixed_float16" if mixed else "float32"
    image = keras.Input((size_px, size_px, 3), name="image")
    given = layers.Rescaling(1 / 255)(image)
    x: Any = given
    for filters in FILTERS:
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", dtype=half)(x)
    x = layers.Conv2D(CODE, 1, name="code", dtype=half)(x)
    for filters in reversed(FILTERS):
        # LiteRT does not take "nearest".
        x = layers.UpSampling2D(2, interpolation="bilinear", dtype=half)(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", dtype=half)(x)
    made = layers.Conv2D(3, 3, padding="same", activation="sigmoid", dtype="float32")(x)
    error = ops.mean(ops.square(made - given), axis=(1, 2, 3))
    return keras.Model(image, ops.reshape(error, (-1, 1)), name="autoencoder")
