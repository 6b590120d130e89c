"""What a model learns from: features, for the frozen phase, and random views.

Each image is decoded once, ahead of the model and on all cores, and cached.
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
from darkroom.models.training.steps import build_predictor

PART_IMAGES = 256  # are stored together: a kill loses no more

logger = logging.getLogger(__name__)


def extract_features(
    backbone: Backbone, images: Sequence[Pixels], size_px: int, folder: Path | None = None
) -> NDArray[np.float32]:
    """Return the features of each image, the mean over its views: (n, d).

    Finished parts lie in `folder`, which belongs to these images and this backbone, so that a
    killed extraction resumes.
    """
    views = inference_views(images, size_px, backbone.rule)
    predict = build_predictor(backbone.features)
    parts = [np.empty((0, backbone.features.output_shape[1]), np.float32)]
    for start in range(0, len(images), PART_IMAGES):
        rows = range(start, min(start + PART_IMAGES, len(images)))
        path = folder / f"{start:07d}.npy" if folder else None
        if path and path.exists():
            parts.append(np.load(path, allow_pickle=False))
            continue
        parts.append(inputs.predict_each(predict, inputs.prefetch(views, rows)))
        if path:
            stream = io.BytesIO()
            np.save(stream, parts[-1])
            write_bytes(path, stream.getvalue())
        if len(images) > PART_IMAGES:
            logger.info("train: features of %d of %d images", rows.stop, len(images))
    return np.concatenate(parts)


def inference_views(
    images: Sequence[Pixels], size_px: int, rule: inputs.InputRule
) -> Callable[[int], inputs.Views]:
    """Return a function from a position to the squares that a model takes of that image."""
    return lambda i: inputs.views(images[i], size_px, rule)


def cached_views(
    images: Sequence[Pixels], size_px: int, rule: inputs.InputRule, folder: Path | None
) -> inputs.CachedArrays:
    """Return `inference_views` of all images, each made once; `folder` as in `random_views`."""
    return inputs.CachedArrays(inference_views(images, size_px, rule), len(images), folder)


def random_views(
    images: Sequence[Pixels], params: TrainParams, rule: inputs.InputRule, seed: int,
    folder: Path | None, name: str = "view",
) -> Callable[[int, NDArray[np.int64]], NDArray[np.uint8]]:  # fmt: skip
    """Return a function from an epoch and rows to one random view of each: (b, size, size, 3).

    A view depends on `seed`, `name`, epoch and row alone. What does not fit into memory is kept in
    `folder`.
    """
    size_px = params.image_size
    quarter_turns = params.task == "rating" and rule == "crop"
    cached = inputs.CachedArrays(
        lambda i: inputs.crop_for_training(images[i], size_px, rule), len(images), folder
    )

    def draw_views(epoch: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        rngs = (generator(seed, name, epoch, int(i)) for i in rows)
        return np.stack([
            inputs.random_view(cached[i], size_px, rng, quarter_turns, params.horizontal_flip)
            for i, rng in zip(rows, rngs, strict=True)
        ])  # fmt: skip

    return draw_views
