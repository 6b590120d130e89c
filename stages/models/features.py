"""What the frozen phase learns from: the backbone's features, each image going through it once."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.lib.pixels import Pixels
from stages.models import inputs
from stages.models.backbones import Backbone
from stages.models.steps import ahead, predictor


def extract(backbone: Backbone, images: Sequence[Pixels], size_px: int) -> NDArray[np.float32]:
    """Return the features of each image, the mean over its views: (n, d)."""
    see = viewer(images, size_px, backbone.rule)
    return inputs.predict_each(predictor(backbone.features), ahead(see, range(len(images))))


def viewer(
    images: Sequence[Pixels], size_px: int, rule: inputs.Rule
) -> Callable[[int], inputs.Views]:
    """Return a function from a position to the squares through which a model sees that image."""
    return lambda i: inputs.views(images[i], size_px, rule)
