"""What training makes small. TensorFlow's Keras is imported by the caller first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkroom.models.targets import TIE

COMPACTNESS_SHARE = 0.1  # λ of Perera and Patel 2019
EPSILON = 1e-10  # under the root, whose slope at 0 is infinite; shifts the loss by 1e-5 at most


def emd_loss(target: Any, predicted: Any) -> Any:
    """Return the earth mover's distance with r = 2: sqrt(mean over bins of ΔCDF²), per image.

    `target` and `predicted` are (n, bins), rows sum to 1; the result is (n,), from 0 (equal) to
    below 1. Source: Talebi and Milanfar 2018 (NIMA, arXiv 1709.05424), equation 1. Bins are in
    order and evenly spaced.
    """
    from keras import ops

    difference = ops.cumsum(predicted - target, axis=-1)  # (n, bins)
    return ops.sqrt(ops.mean(ops.square(difference), axis=-1) + EPSILON)


def cross_entropy(target: Any, predicted: Any) -> Any:
    """Return −Σ target · log(predicted) per image: (n, classes) twice → (n,)."""
    from keras import ops

    return -ops.sum(target * ops.log(ops.maximum(predicted, 1e-7)), axis=-1)


def compactness(features: Any, counted: Any) -> Any:
    """Return the mean squared distance of each row from the mean of the others, per feature.

    `features` are (b, d), `counted` (b,) is 1 for the rows that take part and 0 for the others; the
    result is a number from 0 up. It is b² / (b − 1)² times the batch's variance. Source: Perera and
    Patel 2019 (arXiv 1801.05365), l_C = 1/(n k) Σ zᵢᵀ zᵢ with zᵢ = xᵢ − mᵢ.
    """
    from keras import ops

    kept = features * counted[:, None]
    rows = ops.sum(counted)
    others = ops.maximum(rows - 1, 1)
    # xᵢ − mᵢ, where mᵢ = (Σ x − xᵢ) / (n − 1), is (n xᵢ − Σ x) / (n − 1)
    apart = (rows * kept - ops.sum(kept, axis=0)) / others * counted[:, None]  # (b, d)
    return ops.sum(ops.square(apart)) / ops.maximum(rows, 1) / features.shape[1]


def one_class_loss(features: int) -> Any:
    """Return the loss of deep one-class learning, for predictions (b, features + classes).

    In each row the features come first, then the shares of the reference classes; the targets'
    rows hold zeros, and for a reference image 1 in its class's place. The loss is descriptiveness,
    the mean cross entropy of the reference images, plus `COMPACTNESS_SHARE` of `compactness` of
    the normal ones. Source: Perera and Patel 2019, l = l_D + λ l_C.
    """
    from keras import ops

    def loss(target: Any, predicted: Any) -> Any:
        classes = target[:, features:]
        reference = ops.sum(classes, axis=-1)  # 1 for the reference images, 0 for the normal
        described = ops.sum(cross_entropy(classes, predicted[:, features:]))
        return described / ops.maximum(ops.sum(reference), 1) + COMPACTNESS_SHARE * compactness(
            predicted[:, :features], 1 - reference
        )

    return loss


def weight_by_class(loss: Any, weights: NDArray[np.float32]) -> Any:
    """Return the loss of each image times the weight of its stratum: (n, k) twice → (n,).

    `weights` (k,) has one per class or score bin; an image's is the one nearest to its target's
    mean, as `targets.strata` has it.
    """
    from keras import ops

    places = np.arange(len(weights), dtype=np.float32)

    def weigh(target: Any, predicted: Any) -> Any:
        stratum = ops.floor(ops.sum(target * places, axis=-1) + 0.5 + TIE)  # (n,)
        return ops.take(weights, ops.cast(stratum, "int32")) * loss(target, predicted)

    return weigh
