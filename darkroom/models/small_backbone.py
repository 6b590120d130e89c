"""The backbone `small`: image quality from nothing, on a few hundred patches of 64 px.

Quality shows in what is left when the picture's content is subtracted, so the first layer is
fixed: differences between neighbouring pixels, as in steganalysis (Fridrich and Kodovský 2012,
"Rich models for steganalysis of digital images"), of brightness and of two colour differences, at
full, half and quarter size. Two small learned convolutions read them at each size, also divided
by their local strength (as BRISQUE, Mittal et al. 2012), which sets blur apart from low contrast.
Of every map the mean and the spread over the whole image are kept, never places, so that little
data suffices; with them go moments of the residuals themselves and the distribution of brightness,
which shows haze. Measured out of fold by `benchmarks/folds.py`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

SIZES = 3  # full, half, quarter
COLOUR_SIZES = 2  # colour at a quarter of the size tells nothing more
FILTERS = (16, 24)  # of the learned convolutions
HIDDEN = 64
BRIGHTNESS_STEPS, STEP_WIDTH = 12, 8.0
LIMITS = (3.0, 30.0)  # of residuals, in grey values: faint noise, edges
FAINT = 3.0  # grey values: as after compression; flat, as after posterisation, is a sixth of that
NEIGHBOURHOOD_PX = 5  # over which the local strength is measured
CELL_PX = 4
DROPOUT = 0.2
PLANES = ((0.299, 0.587, 0.114), (1.0, -1.0, 0.0), (-0.5, -0.5, 1.0))  # RGB to brightness, colours

_SIDE = [[0, 0, 0], [0, -1, 1], [0, 0, 0]]
_DOWN = [[0, 0, 0], [0, -1, 0], [0, 1, 0]]
_DIAGONAL = [[0, 0, 0], [0, -1, 0], [0, 0, 1]]
_SIDE_2 = [[0, 0, 0], [1, -2, 1], [0, 0, 0]]
_DOWN_2 = [[0, 1, 0], [0, -2, 0], [0, 1, 0]]
_SQUARE = [[-0.5, 1.0, -0.5], [1.0, -2.0, 1.0], [-0.5, 1.0, -0.5]]
BRIGHTNESS_RESIDUALS = (_SIDE, _DOWN, _DIAGONAL, _SIDE_2, _DOWN_2, _SQUARE)
COLOUR_RESIDUALS = (_SIDE, _DOWN, _SQUARE)


def build_small(size_px: int) -> "keras.Model":
    """Build the network: (n, size, size, 3) in [0, 255] → (n, HIDDEN)."""
    import keras
    from keras import layers

    image = keras.Input((size_px, size_px, 3), name="image")
    features, smaller = _brightness_shares(image), image
    for size in range(SIZES):
        residuals = _residuals(smaller, PLANES[: 3 if size < COLOUR_SIZES else 1])
        brightness = residuals[..., : len(BRIGHTNESS_RESIDUALS)]
        features += _moments(residuals) + _local_strengths(brightness)
        features += _learned(residuals, brightness, strides=2 if size == 0 else 1)
        smaller = layers.AveragePooling2D(2)(smaller)
    x = layers.Concatenate()(features)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Dropout(DROPOUT)(x)
    x = layers.Dense(HIDDEN, activation="relu")(x)
    return keras.Model(image, x, name="small")


def _residuals(image: Any, planes: Sequence[Sequence[float]]) -> Any:
    """Return the differences between neighbouring pixels of each plane: (n, h − 2, w − 2, filters).

    One convolution makes planes and differences: both are linear.
    """
    from keras import ops

    shapes = [BRIGHTNESS_RESIDUALS, *[COLOUR_RESIDUALS] * (len(planes) - 1)]
    kernels = [
        np.multiply.outer(k, plane) for p, plane in zip(shapes, planes, strict=True) for k in p
    ]
    kernel = np.array(kernels, np.float32).transpose(1, 2, 3, 0)  # (3, 3, 3, filters)
    return ops.conv(image, kernel, padding="valid")


def _brightness_shares(image: Any) -> list[Any]:
    """Return the share of pixels above each step of brightness, softly: (n, steps)."""
    from keras import ops

    steps = np.linspace(0, 255, BRIGHTNESS_STEPS, dtype=np.float32)
    plane = np.array(PLANES[0], np.float32) / STEP_WIDTH
    kernel = np.repeat(plane[None, None, :, None], BRIGHTNESS_STEPS, axis=3)  # (1, 1, 3, steps)
    return [_mean(ops.sigmoid(ops.conv(image, kernel) - steps / STEP_WIDTH))]


def _moments(residuals: Any) -> list[Any]:
    """Return how strong, how uneven and how often nearly zero each residual is."""
    from keras import ops

    strength = ops.abs(residuals)
    square = ops.square(residuals)
    mean = ops.log(_mean(strength) + 0.1)
    root = ops.log(_mean(square) + 0.01) / 2
    fourth = ops.log(_mean(ops.square(square)) + 0.001) / 4
    faint = ops.exp(strength * (-1 / FAINT))
    flat = ops.square(faint * ops.square(faint))  # exp(-6 strength / FAINT), cheaper by half
    return [mean, root - mean, fourth - root, _mean(flat), _mean(faint)]


def _local_strengths(brightness: Any) -> list[Any]:
    """Return how strong the residuals of brightness are by cell: blur leaves no strong cell."""
    from keras import layers, ops

    cells = ops.log(layers.AveragePooling2D(CELL_PX)(ops.abs(brightness)) + 0.5)
    return _mean_and_spread(cells)


def _learned(residuals: Any, brightness: Any, strides: int) -> list[Any]:
    """Return the mean and the spread of learned maps over the limited residuals."""
    from keras import layers, ops

    around = layers.AveragePooling2D(NEIGHBOURHOOD_PX, strides=1, padding="same")
    relative = brightness / (ops.sqrt(around(ops.square(brightness))) + 1.0)
    x = ops.concatenate([*(ops.tanh(residuals / limit) for limit in LIMITS), relative], axis=-1)
    features = []
    for filters, step in zip(FILTERS, (strides, 1), strict=True):
        x = layers.Conv2D(filters, 3, strides=step, activation="relu")(x)
        features += _mean_and_spread(x)
    return features


def _mean_and_spread(maps: Any) -> list[Any]:
    """Return the mean and the standard deviation over each map: (n, h, w, c) → 2 × (n, c)."""
    from keras import ops

    mean = _mean(maps)
    variance = _mean(ops.square(maps)) - ops.square(mean)
    # Under the root a little is added: its slope at 0 is infinite.
    return [mean, ops.sqrt(ops.relu(variance) + 1e-3)]


def _mean(maps: Any) -> Any:
    """Return the mean of each map: (n, h, w, c) → (n, c); by rows first, which is twice as fast."""
    from keras import ops

    return ops.mean(ops.mean(maps, axis=1), axis=1)
