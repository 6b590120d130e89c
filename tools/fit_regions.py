"""Fit the vectors of regions on the frozen network: `python -m tools.fit_regions FILES`.

Enters: photographs, as for `tools.fit_copy_network`, and the `local.keras` that
`tools.fit_local_descriptors` leaves. Leaves: `network.tflite` with a third output, (n, 1 + regions,
DIMENSIONS) of unit length, the whole picture first, the two others as they were; `regions.keras`;
and `region_centres.npy`, about which `darkroom.dedupe.regions` files them.

A vector is two dense layers over the hidden layer of the local descriptors, of which the fourth
root of the mean fourth power is taken in each quarter of a window of the picture; windows have one
pair of layers, whole pictures another. Fitted on photographs laid onto foreign ones at 0.4 to 0.9
of the sides: the window that fits the place best shall be near the whole of the photograph
(InfoNCE), against all windows of the picture with all other photographs.
Photographs that `is_held_out` names are never trained on.
"""

import argparse
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import faiss
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.regions import COARSE, SCALE
from darkroom.embedding.network import BUNDLED
from darkroom.images.decode import Pixels, decode
from darkroom.images.resize import resize
from tools import copy_views
from tools.fit_copy_network import EXPORT_SIZE_PX, is_held_out, read_photographs
from tools.fit_local_descriptors import GRID

if TYPE_CHECKING:
    import keras

WINDOWS = {8: 2, 12: 2}  # side in places of the grid: step from window to window
CELLS = 2  # along each side of a window
HIGHEST = 6.0  # of the hidden layer; what is above is clipped
HIDDEN = 128
DIMENSIONS = 64
FINE = 1024  # centres of cells, for many images; `COARSE` for few
SCENES = 2  # of each photograph
SCENES_PER_STEP = 256
REMEMBERED = 512  # wholes of earlier steps, as more foreign ones
TEMPERATURE = 0.03
PEAK_RATE = 2e-3
WARMUP_STEPS = 30

logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]


def lay_onto(
    image: Pixels, scene: Pixels, rng: np.random.Generator
) -> tuple[Pixels, tuple[float, float, float, float]]:
    """Return a foreign photograph that holds the image, and left, top, right, bottom in places."""
    if rng.random() < 0.3:
        image = copy_views.crop(image, rng.uniform(0.85, 1.0), rng)
    if rng.random() < 0.4:
        image = copy_views.change_colour(image, 0.25, rng)
    if rng.random() < 0.25:
        image = image[:, ::-1]
    height, width = scene.shape[:2]
    scale = rng.uniform(0.4, 0.9) * min(height / image.shape[0], width / image.shape[1])
    tall, wide = (max(8, round(side * scale)) for side in image.shape[:2])
    where = rng.random(2) if rng.random() < 0.6 else rng.integers(0, 3, 2) / 2
    top, left = int((height - tall) * where[0]), int((width - wide) * where[1])
    scene = scene.copy()
    scene[top : top + tall, left : left + wide] = resize(np.ascontiguousarray(image), wide, tall)
    view = resize(scene, EXPORT_SIZE_PX, EXPORT_SIZE_PX)
    if rng.random() < 0.5:
        view = compress(view, int(rng.integers(40, 95)))
    x, y = GRID / width, GRID / height
    return view, (left * x, top * y, (left + wide) * x, (top + tall) * y)


def compress(image: Pixels, quality: int) -> Pixels:
    """Return the image as JPEG keeps it."""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def windows() -> Floats:
    """Return left, top, right and bottom of every window, in places, (regions, 4)."""
    return np.array(
        [
            (left, top, left + side, top + side)
            for side, step in WINDOWS.items()
            for top in range(0, GRID - side + 1, step)
            for left in range(0, GRID - side + 1, step)
        ],
        np.float32,
    )


def fits(boxes: Floats) -> Floats:
    """Return how much each window counts for each box, (n, regions): those that fit best."""
    at = windows()
    low = np.maximum(boxes[:, None, :2], at[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], at[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, at)]
    union = areas[0][:, None] + areas[1][None] - common
    best = common / union >= (common / union).max(axis=1, keepdims=True) - 0.08
    return np.asarray(best / best.sum(axis=1, keepdims=True), np.float32)


def pool(grid: Any, side: int, step: int) -> Any:
    """Return the windows of a side of a grid (n, GRID, GRID, c) as (n, windows, CELLS² * c)."""
    import keras

    cell = side // CELLS
    stride = math.gcd(cell, step)
    cells = keras.layers.AveragePooling2D(cell, stride)(grid)
    cells = keras.ops.sqrt(keras.ops.sqrt(cells + 1e-4))
    count, every, apart = (GRID - side) // step + 1, step // stride, cell // stride
    end = (count - 1) * every + 1
    parts = [
        cells[:, y * apart : y * apart + end : every, x * apart : x * apart + end : every]
        for y in range(CELLS)
        for x in range(CELLS)
    ]
    joined = keras.layers.Concatenate()(parts)
    return keras.layers.Reshape((count * count, joined.shape[-1]))(joined)


def build_heads(sample: NDArray[np.uint8]) -> "keras.Model":
    """Return the network from the hidden layer to vectors, (n, 1 + regions, DIMENSIONS).

    Features are brought to the mean and the deviation that they have over a sample.
    """
    import keras

    layers = keras.layers
    hidden = keras.Input(sample.shape[1:], name="hidden")
    clipped = layers.ReLU(HIGHEST)(hidden)
    power = keras.ops.square(keras.ops.square(clipped))
    whole = pool(power, GRID, GRID)
    placed = layers.Concatenate(axis=1)([pool(power, *window) for window in WINDOWS.items()])
    both = keras.Model(hidden, layers.Concatenate(axis=1)([whole, placed]))
    features = np.asarray(both(unpack(sample)))
    mean, deviation = features.mean((0, 1)), features.std((0, 1)) + 0.05
    heads = []
    for name, each in [("whole", whole), ("region", placed)]:
        scaled = layers.Normalization(mean=mean, variance=deviation**2)(each)
        middle = layers.Dense(HIDDEN, activation="relu", name=f"{name}_hidden")(scaled)
        heads.append(layers.Dense(DIMENSIONS, name=name)(middle))
    out = layers.UnitNormalization(name="region_unit")(layers.Concatenate(axis=1)(heads))
    return keras.Model(hidden, out, name="regions")


def pack(hidden: Floats) -> NDArray[np.uint8]:
    """Return the hidden layer clipped and in 8 bits, for keeping many."""
    return np.asarray(np.rint(np.clip(hidden, 0, HIGHEST) * (255 / HIGHEST)), np.uint8)


def unpack(packed: NDArray[np.uint8]) -> Floats:
    """Return the hidden layer as `pack` was given it."""
    return packed.astype(np.float32) * np.float32(HIGHEST / 255)


Scenes = tuple[NDArray[np.uint8], Floats]  # hidden layers, and how much each window counts


def make_examples(
    photographs: list[Pixels], hidden_of: Any, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Scenes]]:
    """Return the hidden layers of the photographs, and of `SCENES` scenes of each of them."""
    n = len(photographs)
    wholes = [resize(image, EXPORT_SIZE_PX, EXPORT_SIZE_PX) for image in photographs]
    wholes = [
        compress(copy_views.change_colour(view, 0.15, rng), int(rng.integers(50, 95)))
        if rng.random() < 0.3
        else view
        for view in wholes
    ]
    scenes = []
    for _ in range(SCENES):
        under = (np.arange(n) + rng.integers(1, n)) % n
        laid = [lay_onto(photographs[i], photographs[under[i]], rng) for i in range(n)]
        boxes = np.array([box for _, box in laid], np.float32)
        scenes.append((hidden_of([view for view, _ in laid]), fits(boxes)))
    return hidden_of(wholes), scenes


def fit_heads(
    wholes: NDArray[np.uint8], scenes: list[Scenes], steps: int, rng: np.random.Generator
) -> "keras.Model":
    """Return the fitted network from the hidden layer to vectors."""
    import keras
    import tensorflow as tf

    heads = build_heads(np.concatenate([wholes[:300], scenes[0][0][:300]]))
    optimizer = keras.optimizers.AdamW(PEAK_RATE, weight_decay=0.02)
    optimizer.build(heads.trainable_variables)
    count = SCENES_PER_STEP

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def train_step(whole: Any, placed: Any, counts: Any, remembered: Any) -> Any:
        with tf.GradientTape() as tape:
            own = heads(whole)[:, 0]  # (n, d)
            inside = heads(placed)[:, 1:]  # (n, regions, d)
            among = tf.concat([own, remembered], 0)
            near = tf.einsum("nrd,md->nrm", inside, among) / TEMPERATURE
            right = tf.einsum("nrd,nd->nr", inside, own) / TEMPERATURE
            right = tf.reduce_logsumexp(right + tf.math.log(counts + 1e-9), 1)
            near = tf.reduce_logsumexp(near, 1)  # (n, m), over the windows of a scene
            near -= 1e9 * tf.eye(count, tf.shape(among)[0])
            loss = tf.reduce_mean(
                tf.nn.softplus(tf.reduce_logsumexp(near, 1) - right)
                + tf.nn.softplus(tf.reduce_logsumexp(near[:, :count], 0) - right)
            )
        gradients = tape.gradient(loss, heads.trainable_variables)
        optimizer.apply_gradients(zip(gradients, heads.trainable_variables, strict=True))
        return loss, own

    remembered, total = np.zeros((REMEMBERED, DIMENSIONS), np.float32), 0.0
    order = np.zeros(0, np.int64)
    for step in range(steps):
        if len(order) < count:
            order = rng.permutation(len(wholes))
        rows, order = np.sort(order[:count]), order[count:]
        placed, counts = scenes[int(rng.integers(len(scenes)))]
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        optimizer.learning_rate.assign(
            PEAK_RATE * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        batch = (unpack(wholes[rows]), unpack(placed[rows]), counts[rows])
        loss, own = train_step(*map(tf.constant, (*batch, remembered)))
        remembered = np.concatenate([remembered[count:], own.numpy()])
        total += float(loss)
        if (step + 1) % 50 == 0:
            logger.info("step %d: loss %.3f", step + 1, total / 50)
            total = 0.0
    return heads


def fit(source: Path, local: Path, out: Path, limit: int, steps: int, seed: int) -> None:
    """Fit on at most `limit` photographs for `steps` steps and write the network to `out`."""
    import keras
    import tensorflow as tf

    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    contents = [c for key, c in sorted(read_photographs(source)) if not is_held_out(key)]
    chosen = rng.permutation(len(contents))[:limit]
    photographs = [decode(contents[i]) for i in chosen]
    network = keras.models.load_model(local, compile=False)
    network.trainable = False
    inner = keras.Model(network.input, network.get_layer("local_hidden").output)
    run = tf.function(lambda views: inner(views, training=False))

    def hidden_of(views: list[Pixels]) -> NDArray[np.uint8]:
        parts = [np.stack(views[i : i + 128]) for i in range(0, len(views), 128)]
        hidden = [pack(run(tf.cast(part, tf.float32)).numpy()) for part in parts]
        return np.concatenate(hidden)

    wholes, scenes = make_examples(photographs, hidden_of, rng)
    logger.info("%d photographs, %d scenes", len(wholes), len(wholes) * SCENES)
    heads = fit_heads(wholes, scenes, steps, rng)
    export(network, heads, wholes, out, seed)


def export(
    network: "keras.Model", heads: "keras.Model", wholes: NDArray[np.uint8], out: Path, seed: int
) -> None:
    """Write the network with its third output, and the centres of cells."""
    import keras
    import tensorflow as tf

    vectors = np.concatenate(
        [heads(unpack(wholes[i : i + 256]))[:, 0].numpy() for i in range(0, len(wholes), 256)]
    )
    centres: list[Any] = []
    for count in (COARSE, FINE):
        clusters = faiss.Kmeans(DIMENSIONS, count, niter=20, seed=seed, spherical=True)
        clusters.train(vectors)
        centres.append(clusters.centroids)
    np.save(out / "region_centres.npy", np.rint(SCALE * np.concatenate(centres)).astype(np.int8))
    outputs = [*network.outputs, heads(network.get_layer("local_hidden").output)]
    network = keras.Model(network.input, outputs, name="copies")
    network.save(out / "regions.keras")
    unfinished = out / "unfinished.tflite"
    unfinished.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    unfinished.replace(out / "network.tflite")


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="a folder of image files or tar shards")
    parser.add_argument("--local", type=Path, default=BUNDLED.with_name("local.keras"))
    parser.add_argument("--limit", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, default=BUNDLED.parent)
    given = parser.parse_args()
    fit(given.source, given.local, given.out, given.limit, given.steps, given.seed)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
