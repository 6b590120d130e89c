"""A small convolutional autoencoder, whose error says how unlike the normal images one is.

What was never seen is reconstructed badly through a narrow code (Japkowicz, Myers and Gluck 1995,
"A novelty detection approach to classification"); but a plain image is reconstructed well by any
network. Hence the error is compared with that of a copy that needs no learning: the image averaged
over cells (the idea of Serrà et al. 2020, arXiv 1909.11480, who compare with a general compressor).
TensorFlow is imported by `build_autoencoder`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

FILTERS = (16, 32, 48, 64)  # one per halving of the side; params.AUTOENCODER_STEP_PX is 2**4
CODE = 16  # channels of the code, 1/48 of the image's numbers in all; chosen by us
CELL_PX = 8  # side of the cells of the copy: 1/64 of the image's numbers; chosen by us
_FLAT = 1e-3  # error that counts as nothing, so that flat images differ by little: a noise of 3 %


def build_autoencoder(size_px: int, mixed: bool = False) -> "keras.Model":
    """Build the network: (n, size, size, 3) in [0, 255] → (n, 1), its error, 0 or more.

    It is the mean squared error of the reconstruction over that of the image averaged over cells of
    `CELL_PX`, drawn smoothly: above about 1, learning was of no use. With `mixed` all
    but what the error is made of is computed in float16.
    """
    import keras
    from keras import layers, ops

    half = "mixed_float16" if mixed else "float32"
    image = keras.Input((size_px, size_px, 3), name="image")
    scaled = layers.Rescaling(1 / 255)(image)
    x: Any = scaled
    for filters in FILTERS:
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", dtype=half)(x)
    x = layers.Conv2D(CODE, 1, name="code", dtype=half)(x)
    for filters in reversed(FILTERS):
        # LiteRT does not take "nearest".
        x = layers.UpSampling2D(2, interpolation="bilinear", dtype=half)(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", dtype=half)(x)
    decoded = layers.Conv2D(3, 3, padding="same", activation="sigmoid", dtype="float32")(x)
    coarse: Any = layers.AveragePooling2D(CELL_PX, dtype="float32")(scaled)
    coarse = layers.UpSampling2D(CELL_PX, interpolation="bilinear", dtype="float32")(coarse)
    error, baseline = (ops.mean(ops.square(x - scaled), axis=(1, 2, 3)) for x in (decoded, coarse))
    return keras.Model(image, ops.reshape(error / (baseline + _FLAT), (-1, 1)), name="autoencoder")
