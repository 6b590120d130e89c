"""Fit a model: a frozen phase on cached features, then fine-tuning of the whole network.

Both phases run Adam with decoupled weight decay under a cosine that falls to zero, keep the
weights of the epoch with the lowest validation loss, and stop after `patience` epochs without a
lower one. Everything random (order, views, dropout) derives from the seed and the epoch or is part
of the checkpoint, so that a killed training resumes to the same weights.
"""

import hashlib
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.failures import UserError
from stages.lib.params import TrainParams
from stages.lib.pixels import Pixels
from stages.lib.randomness import digest_number, generator
from stages.models import inputs
from stages.models.backbones import Backbone, build_backbone
from stages.models.checkpoints import Arrays, Checkpoint, HistoryRow, Progress, assign, values_of
from stages.models.layers import build_augmenter
from stages.models.losses import loss_of
from stages.models.targets import Distributions

if TYPE_CHECKING:
    import keras

CODE_VERSION = "2"  # raised when a change makes old checkpoints unusable
WEIGHT_DECAY = 1e-3
EPOCHS_AVERAGED = 4  # about; the running average validates steadier than one epoch's weights
AHEAD_THREADS = 2
AHEAD_ITEMS = 4
Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Examples(NamedTuple):
    """Images with what is to be predicted for each; images may be read when asked for."""

    images: Sequence[Pixels]
    targets: Distributions  # (n, bins or classes), rows sum to 1


@dataclass(frozen=True)
class Fitted:
    """A fitted model, and how it was reached."""

    model: "keras.Model"  # (n, size, size, 3) in [0, 255] → (n, bins or classes)
    rule: inputs.Rule
    size_px: int
    history: list[HistoryRow]  # one per epoch: epoch, phase, loss, val_loss
    best_epoch: int  # whose weights the model has, 0 for the untrained
    best_loss: float | None  # its validation loss, None for the untrained

    def predict(self, images: Iterable[Pixels]) -> NDArray[np.float32]:
        """Return one distribution per image, as SavedModel does."""
        views = (inputs.views(image, self.size_px, self.rule) for image in images)
        return inputs.predict_each(_predictor(self.model), views)


def fit_model(
    train: Examples, validation: Examples, params: TrainParams, seed: int,
    scratch: Path | None = None, data_digest: str = "",
) -> Fitted:  # fmt: skip
    """Fit the model that `params` describes; resume from `scratch` when it holds this training.

    `data_digest` stands for the examples there: a checkpoint of other ones is not resumed.
    Raises UserError for examples or settings that nothing can be learnt from.
    """
    check_examples(train, validation)
    start_tensorflow(seed, params.threads)
    augmenter = build_augmenter(params.augment, params.task, seed)
    if augmenter and params.epochs.head:
        logger.info("train: train.augment applies to fine_tune alone; head sees cached features")
    backbone = build_backbone(params)
    head = _build_head(backbone, train.targets.shape[1], params)
    model = _join(backbone, head)
    checkpoint = Checkpoint(scratch, _fingerprint(params, seed, data_digest))
    progress = Progress("none")
    if params.epochs.head:
        phase = _head_phase(train, validation, backbone, head, params, seed)
        progress = _run(phase, params, checkpoint, progress.history)
    if params.epochs.fine_tune:
        phase = _fine_tune_phase(train, validation, backbone, model, params, seed, augmenter)
        progress = _run(phase, params, checkpoint, progress.history)
    return Fitted(
        model, backbone.rule, params.image_size, progress.history, progress.best_epoch,
        progress.best_loss if progress.best_epoch else None,
    )  # fmt: skip


def _fingerprint(params: TrainParams, seed: int, data_digest: str) -> str:
    weights = Path(params.weights) if params.weights else None
    own = hashlib.sha256(weights.read_bytes()).hexdigest() if weights and weights.exists() else ""
    text = "\n".join([CODE_VERSION, params.model_dump_json(), str(seed), data_digest, own])
    return hashlib.sha256(text.encode()).hexdigest()


def check_examples(train: Examples, validation: Examples) -> None:
    """Raise UserError when there is nothing to learn from, or nothing to stop by."""
    if not len(train.images):
        raise UserError(
            "train: no labelled image in the train split; give the source labels (README,"
            " `your own images`), or set train.task to none"
        )
    if not len(validation.images):
        raise UserError(
            "train: no labelled image in the validation split, which decides when to stop; raise"
            " split.validation in params.yaml, or add images of other groups"
        )
    for part in (train, validation):
        if not (
            np.isfinite(part.targets).all() and np.allclose(part.targets.sum(axis=1), 1, atol=1e-4)
        ):
            raise UserError("train: targets must be finite and sum to 1 per image")


def start_tensorflow(seed: int, threads: int) -> None:
    """Make TensorFlow repeat itself: seeds, deterministic operations, a fixed number of threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its chatter about processors
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # and about each export
    import keras
    import tensorflow as tf

    keras.config.disable_interactive_logging()
    keras.utils.clear_session()  # names of layers count from 1 again, as in a process of its own
    keras.utils.set_random_seed(digest_number(seed, "train") % 2**32)
    tf.config.experimental.enable_op_determinism()
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # already started: only in a process that did other work before
        if threading.get_intra_op_parallelism_threads() != threads:
            logger.warning(
                "TensorFlow already runs with other threads than train.threads = %d: the weights"
                " may differ from a run of its own", threads,
            )  # fmt: skip


def _build_head(backbone: Backbone, outputs: int, params: TrainParams) -> "keras.Model":
    import keras

    features = keras.Input(backbone.features.output_shape[1:], name="features")  # (n, d)
    kept = keras.layers.Dropout(params.dropout, name="dropout")(features)
    # Float32 softmax over bins or classes, begun at equal shares: the first loss is a plain guess.
    shares = keras.layers.Dense(
        outputs, activation="softmax", kernel_initializer="zeros", name="distribution"
    )(kept)
    return keras.Model(features, shares, name="head")


def _join(backbone: Backbone, head: "keras.Model") -> "keras.Model":
    import keras

    image = keras.Input(backbone.features.input_shape[1:], name="image")
    return keras.Model(image, head(backbone.features(image)), name="darkroom")


@dataclass(frozen=True)
class _Phase:
    """What one phase trains, on what, and how it is judged."""

    name: str
    model: "keras.Model"
    epochs: int
    rate: float
    steps: int  # per epoch
    batches: Callable[[int], Iterator[Batch]]  # epoch → batches of (inputs, targets)
    validate: Callable[[], float]
    augmenter: "keras.Sequential | None" = None  # changes each batch of inputs


def _head_phase(
    train: Examples, validation: Examples, backbone: Backbone, head: "keras.Model",
    params: TrainParams, seed: int,
) -> _Phase:  # fmt: skip
    """Train the last layer on features: each image goes through the backbone once."""
    make = _predictor(backbone.features)
    known, unseen = (
        inputs.predict_each(
            make, _ahead(_viewer(part.images, params, backbone.rule), range(len(part.images)))
        )
        for part in (train, validation)
    )
    predict = _predictor(head)

    def batches(epoch: int) -> Iterator[Batch]:
        for rows in _order(len(known), params.batch_size, seed, "head", epoch):
            yield known[rows], train.targets[rows]

    return _Phase(
        "head", head, params.epochs.head, params.learning_rate.head,
        _steps(train, params), batches,
        lambda: _mean_loss(params.task, validation.targets, predict(unseen)),
    )  # fmt: skip


def _fine_tune_phase(
    train: Examples, validation: Examples, backbone: Backbone, model: "keras.Model",
    params: TrainParams, seed: int, augmenter: "keras.Sequential | None",
) -> _Phase:  # fmt: skip
    """Train every layer on random views of the images."""
    size, rule = params.image_size, backbone.rule
    kept = inputs.Cached(
        lambda i: inputs.for_training(train.images[i], size, rule), len(train.images)
    )
    seen = inputs.Cached(_viewer(validation.images, params, rule), len(validation.images))
    predict = _predictor(model)
    turns = params.task == "rating" and rule == "crop"

    def batches(epoch: int) -> Iterator[Batch]:
        def make(rows: NDArray[np.int64]) -> Batch:
            views = [
                inputs.random_view(kept[i], size, generator(seed, "view", epoch, int(i)), turns)
                for i in rows
            ]
            return np.stack(views).astype(np.float32), train.targets[rows]

        order = _order(len(kept), params.batch_size, seed, "fine_tune", epoch)
        return _ahead(make, order)

    return _Phase(
        "fine_tune", model, params.epochs.fine_tune, params.learning_rate.fine_tune,
        _steps(train, params), batches,
        lambda: _mean_loss(params.task, validation.targets, inputs.predict_each(predict, seen)),
        augmenter,
    )  # fmt: skip


def _run(
    phase: _Phase, params: TrainParams, checkpoint: Checkpoint, history: list[HistoryRow]
) -> Progress:
    """Run the epochs of a phase, from the checkpoint's on, and leave the best weights."""
    import keras

    optimizer = keras.optimizers.AdamW(phase.rate, weight_decay=WEIGHT_DECAY, clipnorm=1.0)
    optimizer.build(phase.model.trainable_variables)
    drawn = phase.augmenter.variables if phase.augmenter else []  # where its randomness is at
    variables = [*phase.model.variables, *optimizer.variables, *drawn]
    progress = checkpoint.load()
    if progress is None or progress.phase != phase.name:
        progress = Progress(phase.name, history=list(history))
    else:
        logger.info("train: resuming %s after epoch %d", phase.name, progress.epoch)
        assign(variables, progress.variables)
    step = _train_step(phase.model, optimizer, loss_of(params.task), phase.augmenter)
    while progress.epoch < phase.epochs and progress.epoch - progress.best_epoch < params.patience:
        _run_epoch(phase, progress, step, optimizer)
        progress.variables = values_of(variables)
        checkpoint.save(progress)
    assign(phase.model.weights, progress.best_weights)
    return progress


def _run_epoch(phase: _Phase, progress: Progress, step: Any, optimizer: Any) -> None:
    """Train one epoch, validate, and note both in `progress`."""
    losses, images, total = [], 0, phase.epochs * phase.steps
    for number, (batch, targets) in enumerate(phase.batches(progress.epoch)):
        done = progress.epoch * phase.steps + number
        optimizer.learning_rate.assign(phase.rate * 0.5 * (1 + math.cos(math.pi * done / total)))
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
            f"train: the loss of {phase.name} became {loss} in epoch {progress.epoch}; lower"
            f" train.learning_rate.{phase.name} in params.yaml (it is {phase.rate})"
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


def _train_step(
    model: "keras.Model", optimizer: Any, loss: Any, augmenter: "keras.Sequential | None"
) -> Any:
    import tensorflow as tf

    shapes = [tf.TensorSpec(model.input_shape), tf.TensorSpec(model.output_shape)]

    def step(batch: Any, targets: Any) -> Any:
        batch = augmenter(batch, training=True) if augmenter else batch
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(targets, model(batch, training=True)))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    return tf.function(step, input_signature=shapes)


def _predictor(model: "keras.Model") -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from a batch of inputs to the model's outputs, compiled once."""
    import tensorflow as tf

    compiled = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec(model.input_shape)],
    )
    return lambda batch: np.asarray(compiled(batch).numpy(), np.float32)


def _mean_loss(task: str, targets: Distributions, predicted: NDArray[np.float32]) -> float:
    return float(np.mean(np.asarray(loss_of(task)(targets, predicted))))


def _order(count: int, size: int, seed: int, phase: str, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each batch: every image once, in an order of this epoch's own."""
    shuffled = generator(seed, "order", phase, epoch).permutation(count)
    yield from (shuffled[start : start + size] for start in range(0, count, size))


def _steps(train: Examples, params: TrainParams) -> int:
    return -(-len(train.images) // params.batch_size)


def _viewer(
    images: Sequence[Pixels], params: TrainParams, rule: inputs.Rule
) -> Callable[[int], inputs.Views]:
    return lambda i: inputs.views(images[i], params.image_size, rule)


def _ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield function(item) in order, with a few made ahead in threads (decoding frees the lock)."""
    with ThreadPoolExecutor(AHEAD_THREADS) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD_ITEMS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
