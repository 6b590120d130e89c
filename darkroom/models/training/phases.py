"""Run one phase of a training: epochs, validation, the best weights, the way back after a kill.

A phase runs Adam with decoupled weight decay under a cosine that falls to zero. What validation
judges is the running average of the weights over epochs; the average with the lowest validation
loss is kept, and the phase stops after `patience` epochs without a lower one.
What counts as lower includes the phase before: fine-tuning that does harm is not kept.

Keras' `use_ema` averages after every step and leaves the statistics of batch normalisation out, and
its callbacks do not keep average, best weights and history over a kill: both end with other bytes.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import LONGEST, UserError
from darkroom.core.params.train import TrainParams
from darkroom.core.randomness import generator
from darkroom.models.training.checkpoints import Arrays, Checkpoint, Progress, assign, values_of
from darkroom.models.training.live import Watch, unwatched
from darkroom.models.training.steps import build_optimizer, is_mixed, train_step

if TYPE_CHECKING:
    import keras

EPOCHS_AVERAGED = 4  # about; the running average validates steadier than one epoch's weights
Batch = tuple[NDArray[np.uint8] | NDArray[np.float32], NDArray[np.float32]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """What one phase trains, on what, and how it is judged."""

    name: str
    model: "keras.Model"
    epochs: int
    rate: float
    steps: int  # per epoch
    batches: Callable[[int], Iterator[Batch]]  # epoch → batches of (inputs, targets)
    validate: Callable[[], float]
    loss: Any  # of training: (b, k) twice → (b,)
    augmenter: "keras.Sequential | None" = None  # changes each batch of inputs


def run_phase(
    phase: Phase, params: TrainParams, checkpoint: Checkpoint, earlier: Progress,
    watch: Watch = unwatched,
) -> Progress:  # fmt: skip
    """Run the epochs of a phase, from the checkpoint's on, and leave the best weights.

    When no epoch is better than the best of the phase before it, the weights stay as they were.
    """
    trained, mixed = phase.model.trainable_variables, is_mixed(params.precision)
    optimizer = build_optimizer(phase.rate, phase.epochs * phase.steps, trained, mixed)
    drawn = phase.augmenter.variables if phase.augmenter else []  # where its randomness is at
    variables = [*phase.model.variables, *optimizer.variables, *drawn]
    progress = checkpoint.load()
    if progress is None or progress.phase != phase.name:
        progress = Progress(
            phase.name, best_loss=earlier.best_loss, history=list(earlier.history),
            best_weights=values_of(phase.model.weights),
        )  # fmt: skip
    else:
        logger.info("train: resuming %s after epoch %d", phase.name, progress.epoch)
        assign(variables, progress.variables)
    watch(progress.history)
    step = train_step(phase.model, optimizer, phase.loss, phase.augmenter)
    while progress.epoch < phase.epochs and progress.epoch - progress.best_epoch < params.patience:
        with _memory(phase.name, params):
            _run_epoch(phase, progress, step)
        progress.variables = values_of(variables)
        checkpoint.save(progress)
        watch(progress.history)
    assign(phase.model.weights, progress.best_weights)
    return progress


@contextmanager
def _memory(phase: str, params: TrainParams) -> Iterator[None]:
    """Tell what to lower where the device has too little memory."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            f"train: too little memory on the device for {phase} with train.batch_size"
            f" {params.batch_size} and train.image_size {params.image_size}; lower one of them in"
            f" params.yaml, or take a smaller train.backbone ({str(error)[:LONGEST]})"
        ) from error


def _run_epoch(phase: Phase, progress: Progress, step: Any) -> None:
    """Train one epoch, validate, and note both in `progress`."""
    losses, images = [], 0
    for batch, targets in phase.batches(progress.epoch):
        losses.append(float(step(batch, targets)) * len(batch))
        images += len(batch)
    weights = values_of(phase.model.weights)
    progress.average = _blend(progress.average, weights)
    assign(phase.model.weights, progress.average)
    loss, val_loss = sum(losses) / images, phase.validate()
    assign(phase.model.weights, weights)
    progress.epoch += 1
    if not (math.isfinite(loss) and math.isfinite(val_loss)):
        raise UserError(
            f"train: in epoch {progress.epoch} of {phase.name} the loss became {loss} and the"
            f" validation loss {val_loss}; lower train.learning_rate.{phase.name} in params.yaml"
            f" (it is {phase.rate})"
        )
    if val_loss < progress.best_loss:
        progress.best_loss, progress.best_epoch = val_loss, progress.epoch
        progress.best_weights = progress.average
    progress.history.append(
        {
            "epoch": len(progress.history) + 1,
            "phase": phase.name,
            "loss": loss,
            "val_loss": val_loss,
        }
    )
    logger.info(
        "train: %s epoch %d of %d, loss %.4f, validation %.4f",
        phase.name, progress.epoch, phase.epochs, loss, val_loss,
    )  # fmt: skip


def _blend(average: Arrays, weights: Arrays) -> Arrays:
    """Return the running average over epochs; the first epoch begins it."""
    if not average:
        return weights
    share = np.float32(1 / EPOCHS_AVERAGED)
    return [old + share * (new - old) for old, new in zip(average, weights, strict=True)]


def shuffled_batches(
    count: int, size: int, seed: int, phase: str, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each batch: every image once, in an order of this epoch's own."""
    shuffled = generator(seed, "order", phase, epoch).permutation(count)
    yield from (shuffled[start : start + size] for start in range(0, count, size))
