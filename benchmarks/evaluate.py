"""How long evaluate takes: reading and inference, metrics, and plots, each on its own.

    python -m benchmarks.evaluate [--images FOLDER] [--sizes 1500 50000]

FOLDER (such as a folder of 1,500 photographs) is stored as the pipeline does and goes through
MobileNetV2 0.35 at 224 px, untrained: its weights do not change the time. Without it only metrics
and plots are timed, on drawn predictions of as many images as SIZES say, four fifths of them of
test; their groups are single images, which are the most draws to make. What importing takes is not
counted. `peak` is the most memory that the process has held, libraries included.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from darkroom.core import shards, tables
from darkroom.core.params.load import load_params
from darkroom.core.params.scale import Scale
from darkroom.core.params.whole import Params
from darkroom.evaluation.plot_tables import draw_plots
from darkroom.evaluation.predictions import (
    class_predictions,
    evaluate_predictions,
    rating_predictions,
)
from darkroom.models.saved import SavedModel, write_model
from stages import evaluate

SCALE = Scale(low=1, high=10, bins=10)
SIDE_PX = 224
CLASSES = 5
SPREAD = 1.7  # of the raters' scores
ERROR = 1.0  # of the predicted mean score


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def histograms(means: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    scores = np.linspace(SCALE.low, SCALE.high, SCALE.bins)
    weights = np.exp(-(((scores - means[:, None]) / SPREAD) ** 2) / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def draw_ratings(rows: pd.DataFrame) -> tuple[pd.DataFrame, SavedModel]:
    rng = np.random.default_rng(1)
    means = rng.uniform(2, 9, len(rows))
    votes = rng.multinomial(200, histograms(means)).tolist()
    rows = rows.assign(ratings=votes, mean=means, std=np.nan)
    outputs = histograms(means + rng.normal(0, ERROR, len(rows)))
    table = rating_predictions(rows, outputs.astype(np.float32), SCALE)
    return table, SavedModel("rating", (), SCALE, SIDE_PX, "resize", b"")


def draw_classes(rows: pd.DataFrame, count: int) -> tuple[pd.DataFrame, SavedModel]:
    rng = np.random.default_rng(1)
    names = tuple(f"class {k}" for k in range(count))
    labels = rng.integers(count, size=len(rows))
    odds = np.exp(rng.normal(size=(len(rows), count)) + 1.5 * np.eye(count)[labels])
    outputs = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    table = class_predictions(rows.assign(label=np.array(names, object)[labels]), outputs, names)
    return table, SavedModel("classification", names, None, SIDE_PX, "resize", b"")


def time_metrics(name: str, table: pd.DataFrame, model: SavedModel, params: Params) -> float:
    chosen, seed = params.evaluate, params.seed
    with threadpool_limits(1):  # as the stage does
        metrics, evaluating = timed(lambda: evaluate_predictions(table, model, chosen, seed))
        _, drawing = timed(lambda: draw_plots(table, model, chosen, seed, metrics))
    print(
        f"{len(table):8} {name:12} metrics {evaluating:7.2f} s, plots {drawing:6.2f} s,"
        f" peak {peak_mb():5.0f} MB"
    )
    return evaluating + drawing


def store(root: Path, images: Path) -> None:
    """Write the stages' outs that evaluate reads, and an untrained model."""
    import keras

    paths = sorted(path for path in images.iterdir() if path.is_file())
    contents = {shards.key_of(path.read_bytes()): path for path in paths}
    (root / "data/raw").mkdir(parents=True)
    members = ((f"{key}.jpg", path.read_bytes()) for key, path in contents.items())
    places = shards.write_shard(root / "data/raw/00000.tar", members)
    scores = np.random.default_rng(1).uniform(SCALE.low, SCALE.high, len(contents))
    rows = pd.DataFrame([place._asdict() for place in places]).assign(
        key=list(contents), status="kept", reason=None, label=None, ratings=None, mean=scores,
        std=None, official_split=None, source_group=None, source="images", name=list(contents),
        uri=None, copy_group=list(contents), family=list(contents), representative=list(contents),
        records=1, label_conflict=False, split_group=list(contents), stratum=None,
        split=np.where(np.arange(len(contents)) % 5 == 4, "validation", "test"),
    )  # fmt: skip
    for path, schema in (
        (evaluate.RAW / "index.parquet", tables.INDEX), (evaluate.LABELS, tables.GROUPS),
        (evaluate.SPLITS, tables.SPLIT),
    ):  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        tables.write_table(rows[schema.names], root / path, schema)
    backbone = keras.applications.MobileNetV2(
        (SIDE_PX, SIDE_PX, 3), alpha=0.35, weights=None, include_top=False, pooling="avg"
    )
    scaled = keras.layers.Rescaling(1 / 127.5, -1)
    image = keras.Input((SIDE_PX, SIDE_PX, 3))
    shares = keras.layers.Dense(SCALE.bins, activation="softmax")(backbone(scaled(image)))
    card = {"task": "rating", "classes": [], "scale": SCALE.model_dump(), "preprocess": [],
            "input": {"size_px": SIDE_PX, "rule": "resize"}}  # fmt: skip
    probe = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.float32)
    write_model(root / evaluate.MODEL, keras.Model(image, shares), card, probe)


def time_images(images: Path, params: Params) -> None:
    """Time the whole stage on stored photographs; what writes its outs is under the last line."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # a process of its own: the stage itself is measured without TensorFlow
        maker = multiprocessing.get_context("spawn").Process(target=store, args=(root, images))
        maker.start()
        maker.join()
        _, whole = timed(lambda: evaluate.run(root, params))
        model = SavedModel.load(root / evaluate.MODEL)
        table, reading = timed(
            lambda: evaluate.predict_rows(root, model, evaluate.read_rows(root, model))
        )
        print(f"{len(table):8} images       reading and inference {reading:7.2f} s")
        rest = time_metrics("ratings", table, model, params)
        print(
            f"{len(table):8} images       the whole stage {whole:.2f} s, of it {rest:.2f} s these"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder of images, none below it")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1500, 50_000])
    given = parser.parse_args()
    params = load_params(Path(__file__).parents[1], Params)
    if given.images:
        time_images(given.images, params)
    for size in given.sizes:
        keys = [f"{i:07d}" for i in range(size)]
        splits = np.where(np.arange(size) % 5 == 4, "validation", "test")
        rows = pd.DataFrame({"key": keys, "split": splits, "split_group": keys})
        time_metrics("ratings", *draw_ratings(rows), params)
        time_metrics("two classes", *draw_classes(rows, 2), params)
        time_metrics(f"{CLASSES} classes", *draw_classes(rows, CLASSES), params)


if __name__ == "__main__":
    main()
