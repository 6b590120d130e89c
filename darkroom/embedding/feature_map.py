"""Networks of keras.applications as embeddings: the feature map of one layer, pooled.

As the duplicate finder of fastai 1 (`fastai.widgets.DatasetFormatter.from_similars`): adaptive
maximum and average pooling of a layer's output, side by side, flattened. TensorFlow builds the
network once and writes it for LiteRT, through which the workers then read it as they read the
bundled one: twice as fast as Keras, and no embedding depends on its batch or its worker.
"""

import difflib
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import UserError
from darkroom.core.files import write_bytes
from darkroom.core.params.embed import EmbedParams
from darkroom.embedding.keras_applications import build_application, scale_for

if TYPE_CHECKING:
    import keras

SETTING = "embed.network"
BATCH = 4  # larger ones are no faster, and hold large feature maps
# Side of the input in pixels where it is not 224, as keras.applications documents them.
SIZE_PX = {
    "EfficientNetB1": 240, "EfficientNetB2": 260, "EfficientNetB3": 300, "EfficientNetB4": 380,
    "EfficientNetB5": 456, "EfficientNetB6": 528, "EfficientNetB7": 600, "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260, "EfficientNetV2B3": 300, "EfficientNetV2S": 384,
    "EfficientNetV2M": 480, "EfficientNetV2L": 480, "InceptionResNetV2": 299, "InceptionV3": 299,
    "NASNetLarge": 331, "Xception": 299,
}  # fmt: skip


def export_application(params: EmbedParams, target: Path) -> str:
    """Write the network that the settings name to `target`, for LiteRT; return a digest of it.

    Its input is (BATCH, size, size, 3) in [0, 255], its output (BATCH, 2 · channels · pool_size²).
    The digest covers the weights up to the layer. Raises UserError for what cannot be built.
    """
    import keras
    import tensorflow as tf

    size = SIZE_PX.get(params.network, 224)
    whole = build_application(
        SETTING, params.network, size, params.alpha, "imagenet", "set embed.network to bundled"
    )
    features = keras.Model(whole.input, feature_map(whole, params.layer))
    _, height, width, _ = features.output.shape
    if params.pool_size > min(height, width):
        raise UserError(
            f"params.yaml: embed.pool_size: expected at most {min(height, width)}, the side of the"
            f" feature map of {params.network} at {params.layer or 'its last layer'}, got"
            f" {params.pool_size}"
        )
    image = keras.Input((size, size, 3), batch_size=BATCH, name="image")
    scaled = scale_for(SETTING, params.network, image)
    network = keras.Model(image, pool(features(scaled), params.pool_size))
    with tempfile.TemporaryDirectory() as folder:
        signature = [tf.TensorSpec(image.shape, tf.float32)]
        network.export(folder, verbose=False, input_signature=signature)
        write_bytes(target, tf.lite.TFLiteConverter.from_saved_model(folder).convert())
    digest = hashlib.sha256()
    for weights in features.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()


def feature_map(network: "keras.Model", layer: str | None) -> Any:
    """Return the output of the layer with this name, of the last one for None: (n, h, w, c).

    Raises UserError naming what is near when there is no such layer, or it has another shape.
    """
    if layer is None:
        return network.output
    maps = [each.name for each in network.layers if len(each.output.shape) == 4]
    if layer not in maps:
        near = difflib.get_close_matches(layer, maps, n=5, cutoff=0.4) or maps[-5:]
        known = any(each.name == layer for each in network.layers)
        raise UserError(
            f"params.yaml: embed.layer: expected a layer of {network.name} whose output is a"
            f" feature map, got {layer!r}, {'which is none' if known else 'which it has not'};"
            f" perhaps {', '.join(near)}, or null for the last one"
        )
    return network.get_layer(layer).output


def pool(features: Any, size: int) -> Any:
    """Pool a feature map (n, h, w, c) to its maxima, then means: (n, 2 · c · size²).

    The bins, which may overlap, are those of PyTorch's adaptive pooling, and so is the order.
    """
    from keras import ops

    _, height, width, channels = features.shape
    cells = [features[:, row, column] for row in bins(height, size) for column in bins(width, size)]
    pooled = [
        ops.stack([reduce(cell, axis=(1, 2)) for cell in cells], axis=-1)  # (n, c, size²)
        for reduce in (ops.max, ops.mean)
    ]
    return ops.reshape(ops.concatenate(pooled, axis=1), (-1, 2 * channels * size**2))


def bins(length: int, count: int) -> list[slice]:
    """Divide `length` places into `count` bins that cover all: floor and ceiling of i · length / n.

    >>> bins(7, 2)
    [slice(0, 4, None), slice(3, 7, None)]
    """
    return [slice(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
