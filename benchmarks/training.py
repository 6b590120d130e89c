"""How fast train is, beside the tutorial way, and how fast the trained model predicts.

    python -m benchmarks.training DATA [--images 1500] [--rounds 3] [--keras FOLDER]

DATA holds `images/` and `labels.csv` (name, mean), as the folder `quality` in benchmarks/public.py;
the images above and below the median are two classes, every fifth image validates. FOLDER is the
KERAS_HOME with ImageNet's weights of MobileNetV2 0.35, if Keras is not to fetch them.

The tutorial way is Keras' guide to transfer learning and fine-tuning, written well:
`image_dataset_from_directory`, flips and crops of 224 from 256 px mapped in parallel, prefetching,
a frozen backbone called with `training=False` under dropout and one dense layer, `compile` and
`fit`. It runs the backbone in every epoch. Fine-tuning trains all layers but batch normalisation.
Ours is `darkroom.models.training.fit.fit_model` on the same files, with params.yaml as it is:
same backbone, image size, batch size, images, epochs and trainable layers, and the same random
views while fine-tuning. Both validate after every epoch.

Each measurement is a process of its own, the sides in turn; imports and TensorFlow's start are left
out, building, compiling, reading weights and files are in. Printed per round and as a median with
range: seconds by the clock and of the processors (which other programs disturb less), for five
epochs of the frozen phase, extraction included; a fine-tuning epoch, the median without the first,
which compiles; how many images per second our input pipeline gives while decoding (cold) and later
(warm), the tutorial's, and how many our compiled step trains on; then what
`darkroom predict` takes from its start for one image, and images per second for the whole folder.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from darkroom.core import shards
from darkroom.core.params.load import FILE, check_params
from darkroom.core.params.train import TrainParams
from darkroom.core.params.whole import Params
from darkroom.core.yaml import read_yaml
from darkroom.models import inputs
from darkroom.models.backbones import input_rule
from darkroom.models.stored_images import StoredImages
from darkroom.models.targets import one_hot
from darkroom.models.training.examples import Examples
from darkroom.models.training.features import random_views
from darkroom.models.training.fit import fit_model
from darkroom.models.training.phases import shuffled_batches
from darkroom.workers.cores import available_cores

REPOSITORY = Path(__file__).parents[1]
SIZE, BATCH, SEED = 224, 32, 17
CLASSES = ("poor", "good")
FROZEN_EPOCHS, FINE_TUNE_EPOCHS = 5, 4
SETTINGS = {
    "task": "classification", "backbone": "MobileNetV2", "alpha": 0.35, "weights": "imagenet",
    "image_size": SIZE, "batch_size": BATCH, "patience": 99, "precision": "float32",
    "learning_rate": {"head": 0.001, "fine_tune": 0.0001},
}  # fmt: skip
Measurements = dict[str, float]


def lay_out(data: Path, count: int, folder: Path) -> None:
    """Write the same images as folders of classes, and as a shard with its table."""
    with (data / "labels.csv").open() as table:
        rows = list(csv.DictReader(table))[:count]
    middle = statistics.median(float(row["mean"]) for row in rows)
    known = []
    for number, row in enumerate(rows):
        part = "validation" if number % 5 == 0 else "train"
        label = CLASSES[float(row["mean"]) > middle]
        content = (data / "images" / row["name"]).read_bytes()
        path = folder / part / label / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        known.append((path.name, content, part, label))
    places = shards.write_shard(folder / "00000.tar", [(name, c) for name, c, _, _ in known])
    stored = pd.DataFrame(places).assign(
        folder=".", split=[part for *_, part, _ in known], label=[label for *_, label in known]
    )
    stored.to_csv(folder / "index.csv", index=False)


def settings(**changes: Any) -> TrainParams:
    values = read_yaml(REPOSITORY / FILE)
    values["train"] |= SETTINGS | {"threads": available_cores()} | changes
    return check_params(values, Params).train


def examples(folder: Path, params: TrainParams) -> tuple[Examples, Examples]:
    rows = pd.read_csv(folder / "index.csv")
    side = inputs.min_side(SIZE, input_rule(params), params.task, filtered=False)
    parts = (rows[rows["split"] == name] for name in ("train", "validation"))
    train, validation = (
        Examples(
            StoredImages(folder, part, (), side, max_pixels=10**8),
            one_hot(list(part["label"]), CLASSES),
        )
        for part in parts
    )
    return train, validation


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def spent(since: tuple[float, float]) -> Measurements:
    now = clocks()
    return {"seconds": now[0] - since[0], "processor": now[1] - since[1]}


def laps(moments: list[tuple[float, float]]) -> Measurements:
    """Return the median of the laps between moments but for the first lap."""
    middle = np.median(np.diff(moments, axis=0)[1:], axis=0)
    return {"seconds": float(middle[0]), "processor": float(middle[1])}


def ours_frozen(folder: Path) -> Measurements:
    import keras  # noqa: F401 (its import is left out)

    params = settings(epochs={"head": FROZEN_EPOCHS, "fine_tune": 0})
    begun = clocks()
    fit_model(*examples(folder, params), params, SEED)
    return spent(begun)


def ours_fine_tune(folder: Path) -> Measurements:
    import keras  # noqa: F401

    params = settings(epochs={"head": 0, "fine_tune": FINE_TUNE_EPOCHS})
    moments: list[tuple[float, float]] = []
    fit_model(*examples(folder, params), params, SEED, watch=lambda _: moments.append(clocks()))
    return laps(moments[-FINE_TUNE_EPOCHS - 1 :])


def tutorial_data(folder: Path) -> tuple[Any, Any]:
    import keras
    import tensorflow as tf

    def read(part: str, side: int, shuffle: bool) -> Any:
        return keras.utils.image_dataset_from_directory(
            folder / part, label_mode="categorical", class_names=list(CLASSES), batch_size=BATCH,
            image_size=(side, side), shuffle=shuffle, seed=SEED, verbose=False,
        )  # fmt: skip

    views = keras.Sequential(
        [keras.layers.RandomFlip("horizontal"), keras.layers.RandomCrop(SIZE, SIZE)]
    )
    train = read("train", round(SIZE * inputs.MARGIN), True).map(
        lambda images, labels: (views(images, training=True), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    validation = read("validation", SIZE, False)
    return train.prefetch(tf.data.AUTOTUNE), validation.prefetch(tf.data.AUTOTUNE)


def tutorial_model(trained: bool) -> Any:
    import keras

    network = keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, input_shape=(SIZE, SIZE, 3), weights="imagenet"
    )
    network.trainable = trained
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    image = keras.Input((SIZE, SIZE, 3))
    maps = network(keras.applications.mobilenet_v2.preprocess_input(image), training=False)
    pooled = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(image, keras.layers.Dense(len(CLASSES), activation="softmax")(pooled))
    model.compile(keras.optimizers.Adam(1e-4 if trained else 1e-3), "categorical_crossentropy")
    return model


def tutorial_frozen(folder: Path) -> Measurements:
    import keras  # noqa: F401

    begun = clocks()
    train, validation = tutorial_data(folder)
    model = tutorial_model(trained=False)
    model.fit(train, validation_data=validation, epochs=FROZEN_EPOCHS, verbose=0)
    return spent(begun)


def tutorial_fine_tune(folder: Path) -> Measurements:
    import keras

    moments: list[tuple[float, float]] = []
    note = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: moments.append(clocks()),
        on_epoch_end=lambda epoch, logs: moments.append(clocks()),
    )
    train, validation = tutorial_data(folder)
    model = tutorial_model(trained=True)
    model.fit(
        train, validation_data=validation, epochs=FINE_TUNE_EPOCHS, verbose=0, callbacks=[note]
    )
    return laps(moments)


def rate(batches: Iterator[Any]) -> float:
    begun, count = time.perf_counter(), 0
    for images, _ in batches:
        count += len(images)
    return count / (time.perf_counter() - begun)


def rates(folder: Path) -> Measurements:
    """Return images per second: our pipeline alone, our compiled step alone, the tutorial's."""
    from darkroom.models import losses
    from darkroom.models.training import fit, steps

    params = settings()
    train, _ = examples(folder, params)
    look = random_views(train.images, params, input_rule(params), SEED, None)

    def epoch(number: int) -> Iterator[Any]:
        order = shuffled_batches(len(train.images), BATCH, SEED, "fine_tune", number)
        return inputs.prefetch(lambda rows: (look(number, rows), rows), order)

    found = {"cold": rate(epoch(0)), "warm": rate(epoch(1))}
    steps.start_tensorflow(SEED, params.threads)
    backbone = fit.build_backbone(params)
    model = fit.attach_head(backbone, fit.build_head(backbone, len(CLASSES), params))
    optimizer = steps.build_optimizer(1e-4, model.trainable_variables, mixed=False)
    step = steps.build_train_step(model, optimizer, losses.cross_entropy, None)
    batch, targets = look(0, np.arange(BATCH)), train.targets[:BATCH]
    step(batch, targets)  # compiles

    def trained() -> Iterator[Any]:
        for _ in range(len(train.images) // BATCH):
            step(batch, targets)
            yield batch, targets

    found["model"] = rate(trained())
    found["tutorial"] = rate((np.asarray(images), None) for images, _ in tutorial_data(folder)[0])
    return found


def predict(folder: Path) -> Measurements:
    """Return the seconds for one image from the program's start, and images/s for a folder."""
    from darkroom.models.saved import write_model

    params = settings(epochs={"head": 0, "fine_tune": 0})
    fitted = fit_model(*examples(folder, params), params, SEED)
    card = {
        "task": "classification", "classes": list(CLASSES), "scale": None, "preprocess": [],
        "input": {"size_px": fitted.size_px, "rule": fitted.rule},
    }  # fmt: skip
    model = folder / "model"
    write_model(model, fitted.model, card, np.zeros((1, SIZE, SIZE, 3), np.float32))
    images = sorted(folder.glob("train/*/*.jpg"))
    ran = {}
    for name, path in {"one image": images[0], "folder": folder / "train"}.items():
        command = [
            sys.executable,
            "-m",
            "darkroom",
            "predict",
            str(path),
            "--model",
            str(model),
        ]
        begun = time.perf_counter()
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        ran[name] = time.perf_counter() - begun
    per_second = (len(images) - 1) / (ran["folder"] - ran["one image"])
    return {"one_image_seconds": ran["one image"], "folder_per_second": per_second}


RUNS: dict[str, Callable[[Path], Measurements]] = {
    function.__name__: function
    for function in (
        ours_frozen, tutorial_frozen, ours_fine_tune, tutorial_fine_tune, rates, predict,
    )
}  # fmt: skip


def measure(run: str, folder: Path, given: argparse.Namespace) -> Measurements:
    """Run one part in a process of its own."""
    home = {"KERAS_HOME": str(given.keras.resolve())} if given.keras else {}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", str(folder), "--run", run],
        capture_output=True, text=True, cwd=REPOSITORY,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | home,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{run} ended with {done.returncode}:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def compare(phase: str, folder: Path, given: argparse.Namespace) -> None:
    """Print both runs of a phase, in alternating rounds."""
    ratios: dict[str, list[float]] = {"seconds": [], "processor": []}
    for _ in range(given.rounds):
        ours, theirs = (measure(f"{who}_{phase}", folder, given) for who in ("ours", "tutorial"))
        print(f"  {phase}: " + ", ".join(
            f"{name} ours {ours[name]:.1f} s, tutorial {theirs[name]:.1f} s" for name in ratios
        ), flush=True)  # fmt: skip
        for name, found in ratios.items():
            found.append(theirs[name] / ours[name])
    for name, found in ratios.items():
        print(f"{phase}: tutorial / ours in {name} {spread(found)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keras", type=Path)
    parser.add_argument("--run", choices=RUNS, help="used by the program itself")
    given = parser.parse_args()
    if given.run:
        print(json.dumps(RUNS[given.run](given.data)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lay_out(given.data, given.images, folder)
        for phase in ("frozen", "fine_tune"):
            compare(phase, folder, given)
        for run in ("rates", "predict"):
            rounds = [measure(run, folder, given) for _ in range(given.rounds)]
            for name in rounds[0]:
                print(f"{run}: {name} {spread([each[name] for each in rounds])}", flush=True)


if __name__ == "__main__":
    main()
