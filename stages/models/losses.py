"""What training makes small. TensorFlow's Keras is imported by the caller first."""

from typing import Any

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


def loss_of(task: str) -> Any:
    """Return the loss of a task of `TrainParams`."""
    return {"rating": emd_loss, "classification": cross_entropy}[task]
