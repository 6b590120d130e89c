"""What a model learns from: features, which the frozen phase reads, and random views.

Each image is decoded once, ahead of the model and on all cores, and kept as it is looked at.
"""

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darkroom.core.files import write_bytes
from darkroom.core.params.train import TrainParams
from darkroom.core.randomness import generator
from darkroom.images.decode import Pixels
from darkroom.models import inputs
from darkroom.models.backbones import Backbone
from darkroom.models.training.steps import predictor

PART_IMAGES = 256  # are kept together: a kill loses no more

logger = logging.getLogger(__name__)


def extract(
    backbone: Backbone, images: Sequence[Pixels], size_px: int, folder: Path | None = None
) -> NDArray[np.float32]:
    """Return the features of each image, the mean over its views: (n, d).

    What is finished lies in `folder`, which belongs to these images and this backbone, so that a
    killed extraction goes on where it was.
    """
    see, predict = viewer(images, size_px, backbone.rule), predictor(backbone.features)
    parts = [np.empty((0, backbone.features.output_shape[1]), np.float32)]
    for start in range(0, len(images), PART_IMAGES):
        rows = range(start, min(start + PART_IMAGES, len(images)))
        path = folder / f"{start:07d}.npy" if folder else None
        if path and path.exists():
            parts.append(np.load(path, allow_pickle=False))
            continue
        parts.append(inputs.predict_each(predict, inputs.ahead(see, rows)))
        if path:
            stream = io.BytesIO()
            np.save(stream, parts[-1])
            write_bytes(path, stream.getvalue())
        if len(images) > PART_IMAGES:
            logger.info("train: features of %d of %d images", rows.stop, len(images))
    return np.concatenate(parts)


def viewer(
    images: Sequence[Pixels], size_px: int, rule: inputs.Rule
) -> Callable[[int], inputs.Views]:
    """Return a function from a position to the squares through which a model sees that image."""
    return lambda i: inputs.views(images[i], size_px, rule)


def random_looks(
    images: Sequence[Pixels], params: TrainParams, rule: inputs.Rule, seed: int,
    folder: Path | None, name: str = "view",
) -> Callable[[int, NDArray[np.int64]], NDArray[np.uint8]]:  # fmt: skip
    """Return a function from an epoch and rows to one random view of each: (b, size, size, 3).

    A view depends on `seed`, `name`, epoch and row alone. What does not fit into memory is kept in
    `folder`.
    """
    size_px = params.image_size
    turns = params.task == "rating" and rule == "crop"
    kept = inputs.Cached(
        lambda i: inputs.for_training(images[i], size_px, rule), len(images), folder
    )

    def look(epoch: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        rngs = (generator(seed, name, epoch, int(i)) for i in rows)
        return np.stack([
            inputs.random_view(kept[i], size_px, rng, turns, params.horizontal_flip)
            for i, rng in zip(rows, rngs, strict=True)
        ])  # fmt: skip

    return look
