"""Run one phase of a training: epochs, validation, the best weights, resuming after a kill.

A phase runs AdamW under a cosine decay of the learning rate. Validated is the running average of
the weights over epochs; the average with the lowest validation loss is kept, and the phase stops
early after `patience` epochs without a lower one. The loss to beat includes that of the phase
before: fine-tuning that does harm is not kept.

Keras' `use_ema` averages after every step and leaves the statistics of batch normalisation out, and
its callbacks do not keep average, best weights and history over a kill: both end with other bytes.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import LONGEST, UserError
from darkroom.core.params.train import TrainParams
from darkroom.core.randomness import generator
from darkroom.models.training import checkpoints
from darkroom.models.training.checkpoints import Checkpoint, TrainingState
from darkroom.models.training.dvclive import EpochCallback, ignore_history
from darkroom.models.training.steps import build_optimizer, build_train_step, uses_mixed_precision

if TYPE_CHECKING:
    import keras

EPOCHS_AVERAGED = 4  # about; the running average validates steadier than one epoch's weights
Batch = tuple[NDArray[np.uint8] | NDArray[np.float32], NDArray[np.float32]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """What one phase trains, on what, and how it is validated."""

    name: str
    model: "keras.Model"
    epochs: int
    learning_rate: float
    steps: int  # per epoch
    batches: Callable[[int], Iterator[Batch]]  # epoch → batches of (inputs, targets)
    validate: Callable[[], float]
    loss: Any  # of training: (b, k) twice → (b,)
    augmenter: "keras.Sequential | None" = None  # changes each batch of inputs


def run_phases(
    build: Mapping[str, Callable[[], Phase]], params: TrainParams, checkpoint: Checkpoint,
    on_epoch_end: EpochCallback = ignore_history,
) -> TrainingState:  # fmt: skip
    """Run the phases that have epochs, in order; the head is not built where it is behind."""
    state, reached = TrainingState("none"), checkpoint.load()
    for name, build_phase in build.items():
        behind = name == "head" and reached is not None and reached.phase == "fine_tune"
        if getattr(params.epochs, name) and not behind:
            state = run_phase(build_phase(), params, checkpoint, state, on_epoch_end)
    return state


def run_phase(
    phase: Phase, params: TrainParams, checkpoint: Checkpoint, previous: TrainingState,
    on_epoch_end: EpochCallback,
) -> TrainingState:  # fmt: skip
    """Run the epochs of a phase, from the checkpoint's on, and leave the best weights.

    When no epoch is better than the best of the phase before it, the weights stay as they were.
    """
    trained, mixed = phase.model.trainable_variables, uses_mixed_precision(params.precision)
    optimizer = build_optimizer(phase.learning_rate, phase.epochs * phase.steps, trained, mixed)
    seeds = phase.augmenter.variables if phase.augmenter else []  # the states of its generators
    variables = [*phase.model.variables, *optimizer.variables, *seeds]
    state = checkpoint.load()
    if state is None or state.phase != phase.name:
        state = TrainingState(
            phase.name, best_loss=previous.best_loss, history=list(previous.history),
            best_weights=checkpoints.read_values(phase.model.weights),
        )  # fmt: skip
    else:
        logger.info("train: resuming %s after epoch %d", phase.name, state.epoch)
        checkpoints.assign(variables, state.variables)
    on_epoch_end(state.history)
    step = build_train_step(phase.model, optimizer, phase.loss, phase.augmenter)
    while state.epoch < phase.epochs and state.epoch - state.best_epoch < params.patience:
        with _explain_memory_error(phase.name, params):
            _run_epoch(phase, state, step)
        state.variables = checkpoints.read_values(variables)
        checkpoint.save(state)
        on_epoch_end(state.history)
    checkpoints.assign(phase.model.weights, state.best_weights)
    return state


@contextmanager
def _explain_memory_error(phase: str, params: TrainParams) -> Iterator[None]:
    """Raise UserError, naming what to lower, where the device has too little memory."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            f"train: too little memory on the device for {phase} with train.batch_size"
            f" {params.batch_size} and train.image_size {params.image_size}; lower one of them in"
            f" params.yaml, or take a smaller train.backbone ({str(error)[:LONGEST]})"
        ) from error


def _run_epoch(phase: Phase, state: TrainingState, step: Any) -> None:
    """Train one epoch, validate, and record both in `state`."""
    losses, images = [], 0
    for batch, targets in phase.batches(state.epoch):
        losses.append(float(step(batch, targets)) * len(batch))
        images += len(batch)
    weights = checkpoints.read_values(phase.model.weights)
    state.average = _update_average(state.average, weights)
    checkpoints.assign(phase.model.weights, state.average)
    loss, val_loss = sum(losses) / images, phase.validate()
    checkpoints.assign(phase.model.weights, weights)
    state.epoch += 1
    if not (math.isfinite(loss) and math.isfinite(val_loss)):
        raise UserError(
            f"train: in epoch {state.epoch} of {phase.name} the loss became {loss} and the"
            f" validation loss {val_loss}; lower train.learning_rate.{phase.name} in params.yaml"
            f" (it is {phase.learning_rate})"
        )
    if val_loss < state.best_loss:
        state.best_loss, state.best_epoch = val_loss, state.epoch
        state.best_weights = state.average
    epoch = len(state.history) + 1
    row = {"epoch": epoch, "phase": phase.name, "loss": loss, "val_loss": val_loss}
    state.history.append(row)
    logger.info(
        "train: %s epoch %d of %d, loss %.4f, validation %.4f",
        phase.name, state.epoch, phase.epochs, loss, val_loss,
    )  # fmt: skip


def _update_average(average: checkpoints.Arrays, weights: checkpoints.Arrays) -> checkpoints.Arrays:
    """Return the running average over epochs, which the first epoch starts."""
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
