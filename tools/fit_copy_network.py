"""Fit the copy-detection network on photographs: `python -m tools.fit_copy_network FILES`.

Enters: image files or tar shards of them (no labels). Leaves: `network.keras`, `network.tflite` and
`background.npy` (embeddings of training photographs, for score normalisation) in `--out` (default:
this folder). Checkpoints every 100 steps and `log.csv` lie in
`.darkroom/fit/`; a killed run continues there and sees the same views as an undisturbed one.

Recipe: a MobileNetV2 of width 0.35 from ImageNet weights, its first blocks frozen, GeM pooling
(p = 3, Radenović et al. 2018, arXiv 1711.02512), one dense layer, unit length. The loss is InfoNCE
between a mild and a strong view of each photograph plus the KoLeo entropy regulariser, as SSCD
(Pizzi et al. 2022, arXiv 2202.10261, eq. 1 to 3). Photographs whose key falls into `HOLDOUT` are
never trained on: `benchmarks/copies.py` measures on those alone.
"""

import argparse
import csv
import hashlib
import logging
import math
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.embedding.network import BUNDLED, Network
from darkroom.images.decode import decode
from darkroom.workers.pool import new_pool
from tools import copy_views

if TYPE_CHECKING:
    import keras

SIZE_PX = 112
EXPORT_SIZE_PX = 128  # a little larger than fitted ranks better (Touvron et al. 2019, 1906.06423)
DIMENSIONS = 192
FIRST_TRAINED_LAYER = "block_3_expand"  # what lies before costs half the time and moves little
PAIRS_PER_STEP = 192
TEMPERATURE = 0.06
KOLEO_WEIGHT = 0.7
PEAK_RATE = 1.5e-3
WARMUP_STEPS = 100
STEPS_PER_CHECKPOINT = 100
HOLDOUT = 12  # one photograph in this many
BACKGROUND_SIZE = 4096  # photographs; twice as many gave nothing more
SCRATCH = Path(".darkroom/fit")

logger = logging.getLogger(__name__)


def is_held_out(key: str) -> bool:
    """Return whether the photograph with this key is kept for measuring, by its hash alone."""
    return int(key[:8], 16) % HOLDOUT == 0


def read_photographs(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (key, bytes) of every image in a folder of files or tar shards, in order of name."""
    for path in sorted(source.rglob("*")):
        if path.suffix == ".tar":
            with tarfile.open(path) as archive:
                for member in archive:
                    handle = archive.extractfile(member)
                    if handle is not None:
                        yield _with_key(handle.read())
        elif path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}:
            yield _with_key(path.read_bytes())


def _with_key(content: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(content).hexdigest()[:32], content


# Each worker process reads the photographs once and then makes whole batches of views.
_photographs: list[bytes] = []


def _load_in_worker(source: Path) -> None:
    cv2.setNumThreads(1)
    _photographs.extend(c for key, c in read_photographs(source) if not is_held_out(key))


def _decode(content: bytes) -> copy_views.Image:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("expected photographs that OpenCV decodes; clean the folder first")
    return np.ascontiguousarray(pixels[:, :, ::-1])


def make_batch(seed: int, step: int) -> NDArray[np.uint8]:
    """Return one step's mild views, then its strong ones: (2 * pairs, size, size, 3) uint8."""
    chosen = np.random.default_rng([seed, step]).choice(
        len(_photographs), PAIRS_PER_STEP, replace=len(_photographs) < PAIRS_PER_STEP
    )
    images = [_decode(_photographs[i]) for i in chosen]
    mild, strong = [], []
    for position, image in enumerate(images):
        rng = np.random.default_rng([seed, step, position])
        mild.append(copy_views.mild_view(image, SIZE_PX, rng))
        strong.append(copy_views.strong_view(image, images[position - 1], SIZE_PX, rng))
    return np.stack(mild + strong)


def build_network(size_px: int, weights: str | None) -> "keras.Model":
    """Build the network: (n, size, size, 3) RGB in [0, 255] → (n, DIMENSIONS) of unit length."""
    import keras

    image = keras.Input((size_px, size_px, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    backbone = keras.applications.MobileNetV2(
        input_tensor=scaled, alpha=0.35, include_top=False, weights=weights
    )
    for layer in backbone.layers:
        if layer.name == FIRST_TRAINED_LAYER:
            break
        layer.trainable = False
    features = backbone.output  # (n, h, w, 1280), never negative
    pooled = keras.ops.mean(keras.ops.power(features + 1e-3, 3.0), axis=(1, 2))
    gem = keras.ops.power(pooled, 1 / 3)  # (n, 1280)
    embedding = keras.layers.Dense(DIMENSIONS, name="embedding")(gem)
    unit = keras.layers.UnitNormalization(name="unit")(embedding)
    return keras.Model(image, unit, name="copies")


def learning_rate(step: int, steps: int) -> float:
    """Return the rate at a step: linear warm-up, then cosine decay to zero."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return PEAK_RATE * warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def fit(source: Path, out: Path, steps: int, seed: int, weights: str | None) -> None:
    """Fit for `steps` steps, resuming from the last checkpoint, and export to `out`."""
    import tensorflow as tf

    network = build_network(SIZE_PX, weights)
    optimizer = _optimizer(network)
    done = tf.Variable(0, dtype=tf.int64)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(network=network, optimizer=optimizer, done=done), str(SCRATCH), 2
    )
    manager.restore_or_initialize()
    train_step = _train_step(network, optimizer)
    started, first = time.perf_counter(), int(done.numpy())
    for step, batch in _batches(source, seed, first, steps):
        optimizer.learning_rate.assign(learning_rate(step, steps))
        losses = train_step(tf.cast(batch, tf.float32))
        done.assign(step + 1)
        if (step + 1) % 10 == 0:
            rate = (step + 1 - first) * 2 * PAIRS_PER_STEP / (time.perf_counter() - started)
            _log(step + 1, [float(v) for v in losses], rate)
        if (step + 1) % STEPS_PER_CHECKPOINT == 0 or step + 1 == steps:
            manager.save()
    larger = build_network(EXPORT_SIZE_PX, None)
    larger.set_weights(network.get_weights())
    export(larger, out)
    write_background(source, out)


def write_background(source: Path, out: Path) -> None:
    """Write `background.npy`: (BACKGROUND_SIZE, DIMENSIONS) float16, photographs of lowest key."""
    photographs = sorted((k, c) for k, c in read_photographs(source) if not is_held_out(k))
    network = Network(out / "network.tflite")
    prepared = [network.prepare(decode(content)) for _, content in photographs[:BACKGROUND_SIZE]]
    temporary = out / "unfinished.npy"
    np.save(temporary, network.embed(prepared).vectors.astype(np.float16), allow_pickle=False)
    temporary.replace(out / "background.npy")


def _optimizer(network: "keras.Model") -> "keras.optimizers.Optimizer":
    import keras

    optimizer = keras.optimizers.AdamW(PEAK_RATE, weight_decay=0.02, clipnorm=5.0)
    optimizer.build(network.trainable_variables)
    return optimizer


def _train_step(network: Any, optimizer: Any) -> Any:
    import tensorflow as tf

    pairs = PAIRS_PER_STEP
    positive = tf.concat([tf.range(pairs, 2 * pairs), tf.range(pairs)], 0)  # (2 * pairs,)
    itself = tf.eye(2 * pairs, dtype=tf.bool)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            unit = network(batch, training=True)  # (2 * pairs, d)
            similarity = tf.matmul(unit, unit, transpose_b=True)  # (2 * pairs, 2 * pairs)
            logits = tf.where(itself, -1e9, similarity / TEMPERATURE)
            contrast = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=positive, logits=logits)
            )
            own = itself | tf.equal(tf.range(2 * pairs)[None, :], positive[:, None])
            nearest = tf.reduce_max(tf.where(own, -1.0, similarity), axis=1)
            distance = tf.sqrt(tf.maximum(2 - 2 * nearest, 1e-6))
            koleo = -tf.reduce_mean(tf.math.log(distance))
            loss = contrast + KOLEO_WEIGHT * koleo
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return contrast, koleo, tf.reduce_mean(tf.gather(similarity, positive, batch_dims=1))

    return step


def _batches(
    source: Path, seed: int, first: int, steps: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (step, batch) in order, a few made ahead in another process."""
    with new_pool(1, partial(_load_in_worker, source)) as pool:
        ahead: list[Future[NDArray[np.uint8]]] = []
        for step in range(first, steps):
            while len(ahead) < 4 and step + len(ahead) < steps:
                ahead.append(pool.submit(make_batch, seed, step + len(ahead)))
            yield step, ahead.pop(0).result()


def _log(step: int, losses: list[float], rate: float) -> None:
    path = SCRATCH / "log.csv"
    new = not path.exists()
    with path.open("a", newline="") as handle:
        writer = csv.writer(handle)
        if new:
            writer.writerow(["step", "contrast", "koleo", "positive_similarity", "views_per_s"])
        writer.writerow([step, *(f"{v:.4f}" for v in losses), f"{rate:.0f}"])
    logger.info(
        "step %d: contrast %.3f, koleo %.3f, positives %.3f, %.0f views/s", step, *losses, rate
    )


def export(network: "keras.Model", out: Path) -> None:
    """Write `network.keras` and `network.tflite` (float32), each under a temporary name first."""
    import tensorflow as tf

    out.mkdir(parents=True, exist_ok=True)
    temporary = out / "unfinished.keras"
    network.save(temporary)
    temporary.replace(out / "network.keras")
    temporary = out / "unfinished.tflite"
    temporary.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    temporary.replace(out / "network.tflite")


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="a folder of image files or tar shards")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, default=BUNDLED.parent)
    parser.add_argument("--from-nothing", action="store_true", help="do not start from ImageNet")
    given = parser.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    weights = None if given.from_nothing else "imagenet"
    fit(given.source, given.out, given.steps, given.seed, weights)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
