"""The compiled steps of a training, and how TensorFlow is started so that it repeats itself.

TensorFlow is imported by the functions that need it.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.randomness import digest_number

if TYPE_CHECKING:
    import keras

AHEAD_THREADS = 2
AHEAD_ITEMS = 4
Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


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


def train_step(
    model: "keras.Model", optimizer: Any, loss: Any, augmenter: "keras.Sequential | None"
) -> Any:
    """Return a function from a batch (inputs, targets) to its mean loss, which trains on it."""
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


def predictor(model: "keras.Model") -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from a batch of inputs to the model's outputs, compiled once."""
    import tensorflow as tf

    compiled = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec(model.input_shape)],
    )
    return lambda batch: np.asarray(compiled(batch).numpy(), np.float32)


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield function(item) in order, with a few made ahead in threads (decoding frees the lock)."""
    with ThreadPoolExecutor(AHEAD_THREADS) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD_ITEMS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
