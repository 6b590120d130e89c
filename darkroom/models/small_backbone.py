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
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

SIZES = 3  # full, half, quarter
COLOUR_SIZES = 2  # colour at a quarter of the size tells nothing more
FILTERS = (16, 24)  # of the learned convolutions
HIDDEN = 64
BRIGHTNESS_STEPS = 12
LIMITS = (3.0, 30.0)  # of residuals, in grey values: faint noise, edges
NEAR_ZERO = (0.5, 3.0)  # grey values: flat as after posterisation, faint as after compression
NEIGHBOURHOOD_PX = 5  # over which the local strength is measured
CELL_PX = 4
DROPOUT = 0.2
PLANES = ((0.299, 0.587, 0.114), (1.0, -1.0, 0.0), (-0.5, -0.5, 1.0))  # RGB to brightness, colours
SMALLEST_PX = 32  # below it nothing is left at a quarter of the size

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
    from keras import layers, ops

    image = keras.Input((size_px, size_px, 3), name="image")
    planes = [  # each (n, size, size, 1)
        ops.sum(image * np.array(weights, np.float32), axis=-1, keepdims=True) for weights in PLANES
    ]
    features = _brightness_shares(planes[0])
    for size in range(SIZES):
        residuals = _residuals(planes[: 3 if size < COLOUR_SIZES else 1])
        features += _moments(residuals) + _local_strengths(residuals)
        features += _learned(residuals, strides=2 if size == 0 else 1)
        planes = [layers.AveragePooling2D(2)(plane) for plane in planes]
    x = layers.Concatenate()(features)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Dropout(DROPOUT)(x)
    x = layers.Dense(HIDDEN, activation="relu")(x)
    return keras.Model(image, x, name="small")


def _kernels(shapes: Sequence[Sequence[Sequence[float]]]) -> NDArray[np.float32]:
    return np.array(shapes, np.float32).transpose(1, 2, 0)[:, :, None, :]  # (3, 3, 1, filters)


def _residuals(planes: list[Any]) -> Any:
    """Return the differences between neighbouring pixels: (n, h − 2, w − 2, filters)."""
    from keras import ops

    kernels = [_kernels(BRIGHTNESS_RESIDUALS), *[_kernels(COLOUR_RESIDUALS)] * (len(planes) - 1)]
    maps = [ops.conv(p, k, padding="valid") for p, k in zip(planes, kernels, strict=True)]
    return ops.concatenate(maps, axis=-1) if len(maps) > 1 else maps[0]


def _brightness_shares(brightness: Any) -> list[Any]:
    """Return the share of pixels above each step of brightness, softly."""
    from keras import ops

    steps = np.linspace(0, 255, BRIGHTNESS_STEPS, dtype=np.float32)
    return [ops.mean(ops.sigmoid((brightness - s) / 8), axis=(1, 2)) for s in steps]


def _moments(residuals: Any) -> list[Any]:
    """Return how strong, how uneven and how often nearly zero each residual is."""
    from keras import ops

    strength = ops.abs(residuals)
    square = ops.square(residuals)
    mean = ops.log(ops.mean(strength, axis=(1, 2)) + 0.1)
    root = ops.log(ops.mean(square, axis=(1, 2)) + 0.01) / 2
    fourth = ops.log(ops.mean(ops.square(square), axis=(1, 2)) + 0.001) / 4
    near_zero = [ops.mean(ops.exp(-strength / width), axis=(1, 2)) for width in NEAR_ZERO]
    return [mean, root - mean, fourth - root, *near_zero]


def _local_strengths(residuals: Any) -> list[Any]:
    """Return how strong the residuals of brightness are by cell: blur leaves no strong cell."""
    from keras import layers, ops

    strength = ops.abs(residuals[..., : len(BRIGHTNESS_RESIDUALS)])
    cells = ops.log(layers.AveragePooling2D(CELL_PX)(strength) + 0.5)
    return _mean_and_spread(cells)


def _learned(residuals: Any, strides: int) -> list[Any]:
    """Return the mean and the spread of learned maps over the limited residuals."""
    from keras import layers, ops

    brightness = residuals[..., : len(BRIGHTNESS_RESIDUALS)]
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

    # Under the root a little is added: its slope at 0 is infinite.
    return [ops.mean(maps, axis=(1, 2)), ops.sqrt(ops.var(maps, axis=(1, 2)) + 1e-3)]
