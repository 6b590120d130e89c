"""What the frozen phase learns from: the backbone's features, each image going through it once."""

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.lib.files import write_bytes
from stages.lib.pixels import Pixels
from stages.models import inputs
from stages.models.backbones import Backbone
from stages.models.steps import ahead, predictor

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
        parts.append(inputs.predict_each(predict, ahead(see, rows)))
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
