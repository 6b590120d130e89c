"""Fit the local descriptors on the frozen network: `python -m tools.fit_local_descriptors FILES`.

Enters: photographs, as for `tools.fit_copy_network`, and its `network.keras`. Leaves
`network.tflite` with two outputs, the embedding as it was and a grid of local descriptors.

The descriptors are two dense layers over three feature maps of the network, brought to one grid.
What they learn is where a place of one view lies in another: views are affine maps of a photograph,
so that this is known, and the loss is InfoNCE between the descriptors of corresponding places,
against all other places of the batch, those of the same photograph included. Turns and mirror
images are among the views: one descriptor finds both. Photographs that `is_held_out` names are
never trained on.
"""

import argparse
import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.embedding.network import BUNDLED
from darkroom.images.decode import Pixels, decode
from darkroom.workers.pool import new_pool
from tools import copy_views
from tools.fit_copy_network import EXPORT_SIZE_PX, is_held_out, read_photographs

if TYPE_CHECKING:
    import keras

GRID = 16  # places along each side
DIMENSIONS = 32
HIDDEN = 96
MAPS = ("block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu")
PAIRS_PER_STEP = 24
PLACES = 48  # corresponding places of each pair
TEMPERATURE = 0.06
PEAK_RATE = 2e-3
WARMUP_STEPS = 50
MARGIN_PX = 4  # nearer to the edge of a view, what lies there is hardly seen

logger = logging.getLogger(__name__)
Matrix = NDArray[np.float64]  # (2, 3)


def random_map(size: tuple[int, int], strong: bool, rng: np.random.Generator) -> Matrix:
    """Return a random affine map of the view's pixels to those of a (height, width) photograph."""
    height, width = size
    area = rng.uniform(0.2, 1.0) if strong else rng.uniform(0.8, 1.0)
    area = 1.0 if rng.random() < 0.3 else area
    aspect = math.exp(rng.uniform(-0.25, 0.25)) if strong else 1.0
    tall, wide = (min(1.0, math.sqrt(area * aspect**way)) for way in (1, -1))
    tall, wide = height * tall, width * wide
    centre = rng.uniform((wide / 2, tall / 2), (width - wide / 2, height - tall / 2))
    linear = np.diag([wide, tall])
    if strong and rng.random() < 0.6:
        angle = math.radians(rng.uniform(-30, 30))
        turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        linear = np.array(turn) @ linear * (1.25 if rng.random() < 0.5 else 1.0)
    if rng.random() < 0.4:
        linear = linear @ np.diag([-1.0, 1.0])
    if strong and rng.random() < 0.25:
        linear = linear @ np.diag([1.0, -1.0])
    if strong and rng.random() < 0.1:
        linear = linear @ np.array([[0.0, -1.0], [1.0, 0.0]])
    linear = linear / EXPORT_SIZE_PX
    return np.asarray(np.c_[linear, centre - linear @ np.full(2, EXPORT_SIZE_PX / 2)])


def make_view(image: Pixels, strong: bool, rng: np.random.Generator) -> tuple[Pixels, Matrix]:
    """Return a view (size, size, 3) of a photograph and the map of its pixels to it."""
    matrix = random_map(image.shape[:2], strong, rng)
    centres = matrix.copy()  # OpenCV counts from the centres of pixels
    centres[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    fill = [int(value) for value in rng.integers(0, 256, 3)] if rng.random() < 0.5 else [0, 0, 0]
    view = np.asarray(
        cv2.warpAffine(
            image, centres, (EXPORT_SIZE_PX, EXPORT_SIZE_PX),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=fill,
        ),
        np.uint8,
    )  # fmt: skip
    if strong:
        if rng.random() < 0.6:
            view = copy_views.change_colour(view, 0.4, rng)
        if rng.random() < 0.1:
            view = copy_views.filter_colour(view, rng)
        if rng.random() < 0.15:
            view = copy_views.add_shapes(view, rng)
        if rng.random() < 0.15:
            view = copy_views.add_caption(view, rng)
    elif rng.random() < 0.3:
        view = copy_views.change_colour(view, 0.1, rng)
    return copy_views._finish(view, EXPORT_SIZE_PX, rng, 10 if strong else 50), matrix


def centres() -> NDArray[np.float64]:
    """Return the places of the grid in pixels of a view, (GRID², 2) x, y, row by row."""
    step = EXPORT_SIZE_PX / GRID
    rows, columns = np.divmod(np.arange(GRID * GRID), GRID)
    return (np.stack([columns, rows], axis=1) + 0.5) * step


_photographs: list[bytes] = []  # in each worker


def _load(source: Path) -> None:
    cv2.setNumThreads(1)
    _photographs.extend(c for k, c in read_photographs(source) if not is_held_out(k))


Batch = tuple[NDArray[np.uint8], NDArray[np.float32]]


def make_batch(seed: int, step: int) -> Batch:
    """Return views (2 · pairs, size, size, 3), mild then strong, and places (2 · pairs, PLACES, 2).

    A place of a mild view is a centre of the grid, that of the strong view is where it lies there.
    """
    rng = np.random.default_rng((seed, step))
    views: list[list[Pixels]] = [[], []]
    places: list[list[NDArray[np.float64]]] = [[], []]
    while len(views[0]) < PAIRS_PER_STEP:
        image = decode(_photographs[int(rng.integers(len(_photographs)))])
        (mild, to_image), (strong, of_strong) = (
            make_view(image, strong, rng) for strong in (False, True)
        )
        there = centres() @ to_image[:, :2].T + to_image[:, 2] - of_strong[:, 2]
        there = there @ np.linalg.inv(of_strong[:, :2]).T
        inside = (there > MARGIN_PX) & (there < EXPORT_SIZE_PX - MARGIN_PX)
        seen = np.flatnonzero(inside.all(axis=1))
        if len(seen) < PLACES:
            continue
        seen = rng.permutation(seen)[:PLACES]
        for number, (view, at) in enumerate([(mild, centres()[seen]), (strong, there[seen])]):
            views[number].append(view)
            places[number].append(at)
    return np.stack(views[0] + views[1]), np.stack(places[0] + places[1]).astype(np.float32)


def build_network(trunk: "keras.Model") -> "keras.Model":
    """Return the network with its second output, (n, GRID², DIMENSIONS) of unit length."""
    import keras

    layers = keras.layers
    low, middle, high = (trunk.get_layer(name).output for name in MAPS)
    low = layers.AveragePooling2D(low.shape[1] // GRID)(low)
    # One dense layer over the three maps, of which the coarse one is enlarged afterwards.
    parts = [
        layers.Conv2D(HIDDEN, 1, use_bias=each is middle, name=f"local_{name}")(each)
        for name, each in zip(("low", "middle", "high"), (low, middle, high), strict=True)
    ]
    parts[2] = layers.UpSampling2D(GRID // high.shape[1], interpolation="bilinear")(parts[2])
    hidden = layers.ReLU(name="local_hidden")(layers.Add()(parts))
    local = layers.Conv2D(DIMENSIONS, 1, name="local")(hidden)
    local = layers.UnitNormalization(name="local_unit")(local)
    local = layers.Reshape((GRID * GRID, DIMENSIONS), name="local_grid")(local)
    return keras.Model(trunk.input, [trunk.output, local], name="copies")


def fit(source: Path, out: Path, steps: int, seed: int) -> None:
    """Fit the descriptors for `steps` steps and write the network to `out`."""
    import keras
    import tensorflow as tf

    trunk = keras.models.load_model(BUNDLED.with_name("network.keras"), compile=False)
    trunk.trainable = False
    network = build_network(trunk)
    optimizer = keras.optimizers.AdamW(PEAK_RATE, weight_decay=0.01)
    optimizer.build(network.trainable_variables)
    pairs, count = PAIRS_PER_STEP, PAIRS_PER_STEP * PLACES

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def train_step(views: Any, places: Any) -> Any:
        at = places * (GRID / EXPORT_SIZE_PX) - 0.5  # (2 * pairs, PLACES, 2) in cells
        with tf.GradientTape() as tape:
            grid = tf.reshape(network(views, training=False)[1], (-1, GRID, GRID, DIMENSIONS))
            one = tf.math.l2_normalize(interpolate(grid[:pairs], at[:pairs]), -1)
            two = tf.math.l2_normalize(interpolate(grid[pairs:], at[pairs:]), -1)
            one, two = (tf.reshape(each, (count, DIMENSIONS)) for each in (one, two))
            logits = tf.matmul(one, two, transpose_b=True) / TEMPERATURE
            own = tf.range(count)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(own, logits)
                + tf.nn.sparse_softmax_cross_entropy_with_logits(own, tf.transpose(logits))
            )
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        found = tf.equal(tf.argmax(logits, 1, tf.int32), own)
        return loss, tf.reduce_mean(tf.cast(found, tf.float32))

    totals = np.zeros(2)
    for step, (views, places) in _batches(source, seed, steps):
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        optimizer.learning_rate.assign(
            PEAK_RATE * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        totals += [float(v) for v in train_step(tf.cast(views, tf.float32), places)]
        if (step + 1) % 50 == 0:
            logger.info("step %d: loss %.3f, found %.3f", step + 1, *(totals / 50))
            totals[:] = 0
    network.save(out / "local.keras")
    unfinished = out / "unfinished.tflite"
    unfinished.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    unfinished.replace(out / "network.tflite")


def interpolate(grid: Any, at: Any) -> Any:
    """Return (n, k, c): the values of `grid` (n, h, w, c) at `at` (n, k, 2) x, y, bilinearly."""
    import tensorflow as tf

    at = tf.clip_by_value(at, 0.0, GRID - 1.001)
    low = tf.floor(at)
    x, y = tf.unstack(tf.cast(low, tf.int32), axis=-1)
    right, down = tf.unstack((at - low)[..., None], axis=2)

    def value(row: Any, column: Any) -> Any:
        return tf.gather_nd(grid, tf.stack([row, column], -1), batch_dims=1)

    above = value(y, x) * (1 - right) + value(y, x + 1) * right
    below = value(y + 1, x) * (1 - right) + value(y + 1, x + 1) * right
    return above * (1 - down) + below * down


def _batches(source: Path, seed: int, steps: int) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch) in order, a few made ahead in another process."""
    with new_pool(1, partial(_load, source)) as pool:
        ahead: list[Future[Batch]] = []
        for step in range(steps):
            while len(ahead) < 4 and step + len(ahead) < steps:
                ahead.append(pool.submit(make_batch, seed, step + len(ahead)))
            yield step, ahead.pop(0).result()


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="a folder of image files or tar shards")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, default=BUNDLED.parent)
    given = parser.parse_args()
    fit(given.source, given.out, given.steps, given.seed)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
