"""The compiled steps of a training, and how TensorFlow is started so that it repeats itself.

TensorFlow is imported by the functions that need it.
"""

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.randomness import digest_number
from darkroom.models.training.batch_norm_folding import fold_batch_norm

if TYPE_CHECKING:
    import keras

WEIGHT_DECAY = 1e-3
CLIP_NORM = 1.0  # of each variable's gradient

logger = logging.getLogger(__name__)


def start_tensorflow(seed: int, threads: int) -> None:
    """Make TensorFlow repeat itself: seeds, deterministic operations, a fixed number of threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its chatter about processors
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # and about each export
    if {"sklearn", "keras"}.isdisjoint(sys.modules):
        # Keras spends a second on importing scikit-learn, where it is, for wrappers of no use here.
        sys.modules["sklearn"] = None  # type: ignore[assignment]  # as if it were absent
        try:
            importlib.import_module("keras")
        finally:
            del sys.modules["sklearn"]
    import keras
    import tensorflow as tf

    keras.config.disable_interactive_logging()
    keras.utils.clear_session()  # names of layers count from 1 again, as in a process of its own
    keras.utils.set_random_seed(digest_number(seed, "train") % 2**32)
    if tf.config.list_physical_devices("GPU"):
        # Determinism for all operations stops at the first that has no such kernel on a GPU.
        os.environ["TF_CUDNN_DETERMINISTIC"] = "1"
    else:
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


@contextmanager
def distribute_over_gpus() -> Iterator[int]:
    """Mirror what is built inside on every GPU, each of which learns from its share of a batch.

    Gives the number of devices. With one GPU or none nothing changes. Gradients are summed over
    the GPUs before each update.
    """
    import tensorflow as tf

    devices = [device.name for device in tf.config.list_logical_devices("GPU")]
    if len(devices) < 2:
        yield 1
        return
    logger.info("train: on %d GPUs", len(devices))
    with tf.distribute.MirroredStrategy(devices).scope():
        yield len(devices)


def uses_mixed_precision(precision: str) -> bool:
    """Return whether `train.precision` means mixed here; auto does on a GPU."""
    import tensorflow as tf

    if precision == "auto":
        return bool(tf.config.list_physical_devices("GPU"))
    return precision == "mixed"


def rebuild(model: "keras.Model", mixed: bool) -> "keras.Model":
    """Return a copy of the model, computing in float16 where `mixed`, with equal float32 weights.

    It lives on the devices of the scope in which it is built.
    """
    import keras

    names = ("float32", "mixed_float16") if mixed else ("mixed_float16", "float32")
    old_policy, new_policy = (json.dumps({"name": name}) for name in names)
    same = keras.models.model_from_json(model.to_json().replace(old_policy, new_policy))
    same.set_weights(model.get_weights())
    for old, new in zip(model._flatten_layers(), same._flatten_layers(), strict=True):
        if not old._layers:
            new.trainable = old.trainable
    return same


def build_optimizer(rate: float, steps: int, variables: Sequence[Any], mixed: bool) -> Any:
    """Return Adam with decoupled weight decay, with dynamic loss scaling where `mixed`.

    The learning rate falls from `rate` to zero along a cosine over `steps`. The scaling
    (Micikevicius et al. 2018, arXiv 1710.03740) keeps small gradients above the smallest float16;
    a step whose gradients overflow is left out.
    """
    import keras
    import tensorflow as tf

    # Each GPU clips and hands on its share of the summed gradient: see `build_train_step`.
    share = CLIP_NORM / tf.distribute.get_strategy().num_replicas_in_sync
    # In float32 two thirds of the rates would differ in their last bit from the exact cosine.
    schedule = keras.optimizers.schedules.CosineDecay(np.float64(rate), steps)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY, clipnorm=share)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if mixed else optimizer
    optimizer.build(variables)
    return optimizer


def build_train_step(
    model: "keras.Model", optimizer: Any, loss: Any, augmenter: "keras.Sequential | None"
) -> Any:
    """Return a function from a batch (inputs, targets) to its mean loss, which trains on it.

    Images come as uint8, features as float32. On several GPUs each takes every so-many-th row; a
    batch with fewer rows than GPUs is filled up with rows that have no weight.
    """
    import tensorflow as tf

    network, strategy = fold_batch_norm(model, training=True), tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    inputs = tf.uint8 if len(model.input_shape) == 4 else tf.float32
    shapes = [tf.TensorSpec(model.input_shape, inputs), tf.TensorSpec(model.output_shape)]

    def replica_step(batch: Any, targets: Any) -> Any:
        context, count = tf.distribute.get_replica_context(), tf.shape(batch)[0]
        weights = tf.ones([count])
        if replicas > 1:
            full = (count + replicas - 1) // replicas * replicas
            rows = tf.range(context.replica_id_in_sync_group, full, replicas)
            weights = tf.cast(rows < count, tf.float32)
            batch, targets = tf.gather(batch, rows % count), tf.gather(targets, rows % count)
        batch = tf.cast(batch, tf.float32)
        batch = augmenter(batch, training=True) if augmenter else batch
        with tf.GradientTape() as tape:
            losses = tf.convert_to_tensor(loss(targets, network(batch, training=True)))
            losses = tf.reduce_mean(losses, list(range(1, losses.shape.rank)))
            value = tf.reduce_sum(weights * losses) / tf.cast(count, tf.float32)
            scaled = optimizer.scale_loss(value)
        gradients = tape.gradient(scaled, model.trainable_variables)
        if replicas > 1:  # Keras sums as well, but only after clipping
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [gradient / replicas for gradient in gradients]
        optimizer.apply(gradients, model.trainable_variables)
        return value

    def step(batch: Any, targets: Any) -> Any:
        values = strategy.run(replica_step, (batch, targets))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    return tf.function(step, input_signature=shapes)


def build_predictor(model: "keras.Model") -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from a batch of inputs to the model's outputs, compiled once."""
    import tensorflow as tf

    network = fold_batch_norm(model, training=False)
    compiled = tf.function(
        lambda batch: network(batch, training=False),
        input_signature=[tf.TensorSpec(model.input_shape)],
    )
    return lambda batch: np.asarray(compiled(batch).numpy(), np.float32)
