import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageFilter

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.models.saved import SavedModel
from darkroom.models.stored_images import StoredImages
from darkroom.models.training import examples, fit
from stages import train
from tests.harness import call, damage_raw
from tests.models.networks import few_layers

# Keras 3.15 saves TensorFlow variables through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LIVE = "metrics/live/metrics.json"
OUTPUTS = ["data/model/model.json", "data/model/model.keras", "data/model/model.tflite",
           "metrics/plots/train/history.csv", "metrics/train.json", LIVE]  # fmt: skip


def encode(patch, blurred):
    image = Image.fromarray(patch[:48, :48])
    stream = io.BytesIO()
    (image.filter(ImageFilter.GaussianBlur(3)) if blurred else image).save(stream, "PNG")
    return stream.getvalue()


def write_data(root, patches, counts, **labels):
    """Write raw shards and tables of counts[split] images; every second one is blurred."""
    splits = [split for split, count in counts.items() for _ in range(count)]
    contents = [encode(patch, i % 2) for i, patch in enumerate(patches[: len(splits)])]
    keys = [shards.key_of(content) for content in contents]
    named = [(f"{key}.png", content) for key, content in zip(keys, contents, strict=True)]
    places = shards.write_shard(root / "data/raw/00000.tar", named)
    empty = dict.fromkeys(tables.LABEL_COLUMNS)
    rows = [
        empty
        | {"key": key, "shard": p.shard, "offset": p.offset, "size": p.size, "status": "kept",
           "source": "s", "name": key, "uri": None, "reason": None}
        | {name: values[i % len(values)] for name, values in labels.items()}
        for i, (key, p) in enumerate(zip(keys, places, strict=True))
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    tables.write_table(frame, root / "data/raw/index.parquet", tables.INDEX)
    groups = frame.assign(
        copy_group=keys, family=keys, representative=keys, records=1, label_conflict=False
    )
    tables.write_table(
        groups[tables.GROUPS.names], root / "data/dedupe/groups.parquet", tables.GROUPS
    )
    split = pd.DataFrame({"key": keys, "split": splits, "split_group": keys, "stratum": None})
    tables.write_table(split, root / "data/split.parquet", tables.SPLIT)
    write_augmented(root, keys[:2], contents[:2])
    return keys


def write_augmented(root, parents, contents):
    flipped = []
    for content in contents:
        stream = io.BytesIO()
        Image.open(io.BytesIO(content)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
            stream, "PNG"
        )
        flipped.append(stream.getvalue())
    keys = [shards.key_of(content) for content in flipped]
    named = [(f"{key}.png", content) for key, content in zip(keys, flipped, strict=True)]
    places = shards.write_shard(root / "data/augmented/00000.tar", named)
    rows = [
        {"key": key, "parent": parent, "variant": 0, "operations": "flip", "shard": p.shard,
         "offset": p.offset, "size": p.size}
        for key, parent, p in zip(keys, parents, places, strict=True)
    ]  # fmt: skip
    tables.write_table(pd.DataFrame(rows), root / "data/augmented/index.parquet", tables.AUGMENTED)


@pytest.fixture
def quick(values, monkeypatch):
    monkeypatch.setattr(fit, "build_backbone", few_layers)
    values["train"] |= {
        "image_size": 32, "batch_size": 8, "epochs": {"head": 0, "fine_tune": 2}, "threads": 2,
    }  # fmt: skip

    def change(**changes):
        values["train"] |= changes
        return check_params(values, Params)

    return change


def test_without_epochs_every_output_is_there(tmp_path, patches, quick):
    write_data(tmp_path, patches, {"train": 6, "validation": 2}, label=["sharp", "blurred"])
    train.run(tmp_path, quick(task="classification", epochs={"head": 0, "fine_tune": 0}))
    assert all((tmp_path / name).exists() for name in OUTPUTS)


def test_rating_writes_a_model_that_predicts_and_repeats(tmp_path, patches, quick):
    votes = [np.eye(10, dtype=int)[8] * 5, np.eye(10, dtype=int)[2] * 5]
    for root in (tmp_path / "a", tmp_path / "b"):
        keys = write_data(root, patches, {"train": 12, "validation": 4, "test": 4}, ratings=votes)
        train.run(root, quick())
    for name in OUTPUTS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert not (tmp_path / "a/.darkroom/train").exists()
    metrics = json.loads((tmp_path / "a/metrics/train.json").read_text())
    assert metrics["images"] == {
        "train": 12, "augmented": 2, "left_out": 0, "validation": 4, "failed": {}
    }  # fmt: skip
    assert metrics["epochs"] == {"head": 0, "fine_tune": 2}
    history = pd.read_csv(tmp_path / "a/metrics/plots/train/history.csv")
    assert list(history) == ["epoch", "phase", "loss", "val_loss"]
    assert history["val_loss"].min() == pytest.approx(metrics["loss"]["validation"])
    live = json.loads((tmp_path / "a" / LIVE).read_text())
    assert live["step"] == live["fine_tune"]["epoch"] == 2
    assert live["fine_tune"]["val_loss"] == pytest.approx(history["val_loss"].iloc[-1])
    model = SavedModel.load(tmp_path / "a/data/model")
    assert (model.task, model.rule, model.size_px) == ("rating", "crop", 32)
    assert model.predict(patches[:3]).shape == (3, 10)
    assert keys


def test_what_no_longer_decodes_is_left_out_and_counted(tmp_path, patches, quick):
    counts = {"train": 8, "validation": 4}
    keys = write_data(tmp_path, patches, counts, label=["sharp", "blurred"])
    damage_raw(tmp_path, keys[1], keys[9])
    train.run(tmp_path, quick(task="classification"))
    metrics = json.loads((tmp_path / "metrics/train.json").read_text())
    assert metrics["images"] == {
        "train": 7, "augmented": 2, "left_out": 0, "validation": 3, "failed": {"not_an_image": 2}
    }  # fmt: skip


TRAIN = """
import os, signal, sys
import ai_edge_litert.interpreter, dvclive, keras, tensorflow as tf
tf.lite.TFLiteConverter  # TensorFlow is imported once, and starts in each fork
from darkroom.core.script import run_as_script
from darkroom.models.training import checkpoints, fit
from stages.train import Params, run
from tests.models.networks import few_layers

fit.build_backbone = few_layers
save = checkpoints.Checkpoint.save
killed_after = None

def save_and_die(self, state):
    save(self, state)
    if state.phase == killed_after and state.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoints.Checkpoint.save = save_and_die
for folder, killed_after in (("whole", ""), ("killed", "head"), ("killed", "fine_tune"),
                             ("killed", "")):
    child = os.fork()
    if not child:
        os.chdir(folder)
        run_as_script(run, Params)
        sys.exit()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (-signal.SIGKILL if killed_after else 0), (folder, killed_after, status)
    assert os.path.exists(f"{folder}/data/model") == (not killed_after)
"""


def test_killed_in_each_phase_and_run_again_leaves_the_same_bytes(tmp_path, patches, values):
    values["train"] |= {
        "task": "classification", "image_size": 32, "batch_size": 4, "threads": 2,
        "epochs": {"head": 2, "fine_tune": 2},
    }  # fmt: skip
    for name in ("whole", "killed"):
        box = tmp_path / name
        write_data(box, patches, {"train": 12, "validation": 4}, label=["sharp", "blurred"])
        (box / "params.yaml").write_text(yaml.safe_dump(values))
    assert "resuming fine_tune after epoch 1" in call(tmp_path, sys.executable, "-c", TRAIN)
    for name in OUTPUTS:
        whole, killed = ((tmp_path / box / name).read_bytes() for box in ("whole", "killed"))
        assert whole == killed, name


def test_training_sees_what_was_prepared_and_the_card_says_how(tmp_path, patches, quick):
    for name, chain in (("plain", []), ("prepared", [{"filter": "median", "size_px": 9}])):
        write_data(tmp_path / name, patches, {"train": 8, "validation": 4}, mean=[3.0, 7.0])
        train.run(tmp_path / name, quick(preprocess=chain))
    assert SavedModel.load(tmp_path / "prepared/data/model").preprocess == (
        {"filter": "median", "on": "rgb", "size_px": 9},
    )
    plain, prepared = (
        (tmp_path / name / "metrics/train.json").read_text() for name in ("plain", "prepared")
    )
    assert plain != prepared


def test_a_wrong_filter_stops_before_any_work(tmp_path, quick):
    with pytest.raises(
        UserError, match=r"params.yaml: train.preprocess\[0\].filter: expected one of"
    ):
        train.run(tmp_path, quick(preprocess=[{"filter": "sharpen"}]))


def test_classes_are_stored_in_order_of_name(tmp_path, patches, quick):
    write_data(tmp_path, patches, {"train": 8, "validation": 4}, label=["zebra", "ant"])
    train.run(tmp_path, quick(task="classification", epochs={"head": 0, "fine_tune": 1}))
    assert SavedModel.load(tmp_path / "data/model").classes == ("ant", "zebra")


def test_none_leaves_valid_empty_outs(tmp_path, quick):
    train.run(tmp_path, quick(task="none"))
    assert SavedModel.load(tmp_path / "data/model").task == "none"
    assert (tmp_path / OUTPUTS[3]).read_text() == "epoch,phase,loss,val_loss\n"
    assert json.loads((tmp_path / OUTPUTS[4]).read_text()) == {"task": "none"}
    assert json.loads((tmp_path / LIVE).read_text()) == {}


@pytest.mark.parametrize(
    ("task", "counts", "labels", "word"),
    [
        pytest.param("rating", {"train": 4, "validation": 2}, {}, "no labelled image that decodes",
                     id="no labels"),
        pytest.param("rating", {"train": 4}, {"mean": [5.0]}, "in the validation split",
                     id="no validation images"),
        pytest.param("rating", {"train": 4, "validation": 2}, {"mean": [5.0, 11.0]},
                     r"train\.scale", id="mean outside the scale"),
        pytest.param("rating", {"train": 4, "validation": 2}, {"ratings": [[0] * 10]},
                     r"at least one per image; got 0, 0, .* \(\d of \d images\)", id="no votes"),
        pytest.param("rating", {"train": 4, "validation": 2}, {"ratings": [[1, 2]]},
                     r"train\.scale\.bins", id="other bins"),
        pytest.param("rating", {"train": 4, "validation": 2}, {"label": ["a", "b"]},
                     "set train.task to classification", id="labels of the other task"),
        pytest.param("classification", {"train": 4, "validation": 2}, {"label": ["cat"]},
                     "'cat' alone", id="one class"),
        pytest.param("classification", {"train": 2, "validation": 4}, {"label": [*"abcabc"]},
                     "no image in the train split of class 'c'", id="class in validation alone"),
        pytest.param("classification", {"train": 4, "validation": 4, "test": 2},
                     {"label": [*"abababab", "c", "c"]}, "an earlier run of split",
                     id="class in test alone"),
        pytest.param("classification", {"train": 4, "validation": 4, "test": 2},
                     {"label": [*"abababab", "c", "c"], "official_split": ["test"]},
                     "sources name another split", id="class in an official test split alone"),
        pytest.param("rating", {"train": 4, "validation": 2}, {"mean": [float("nan")]},
                     "no labelled image that decodes", id="NaN labels"),
        pytest.param("classification", {"train": 4, "validation": 2}, {"label": [None]},
                     "no labelled image that decodes", id="empty labels"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_said(tmp_path, patches, quick, task, counts, labels, word):
    write_data(tmp_path, patches, counts, **labels)
    with pytest.raises(UserError, match=word):
        train.run(tmp_path, quick(task=task))
    assert not (tmp_path / "data/model").exists()


def test_max_per_class_draws_originals_whatever_their_order_and_children_follow(tmp_path, patches):
    labels = [*"aaaaaaab"]
    write_data(tmp_path, patches, {"train": 16, "validation": 8}, label=labels)
    rows = examples.read_rows(tmp_path, "classification")
    strata = (rows["label"] == "b").to_numpy(int)
    assert (examples.limit_per_class(rows, strata, None, 17)).all()
    used = rows[examples.limit_per_class(rows, strata, 3, 17)]
    own = used[(used["split"] == "train") & (used["key"] == used["parent"])]
    assert own["label"].value_counts().to_dict() == {"a": 3, "b": 2}
    assert (used["split"] == "validation").sum() == 8
    assert set(used["parent"][used["split"] == "train"]) == set(own["key"])
    turned = rows.iloc[::-1].reset_index(drop=True)
    again = turned[examples.limit_per_class(turned, strata[::-1], 3, 17)]
    assert set(again["key"]) == set(used["key"])
    more = rows[examples.limit_per_class(rows, strata, 4, 17)]
    assert set(used["key"]) < set(more["key"])
    other = rows[examples.limit_per_class(rows, strata, 3, 18)]
    assert set(other["key"]) != set(used["key"])


def test_unlabelled_images_are_never_trained_on(tmp_path, patches):
    keys = write_data(tmp_path, patches, {"train": 4, "validation": 4}, mean=[5.0, None])
    rows = examples.read_rows(tmp_path, "rating")
    assert set(rows["key"]) - set(keys) == set(rows["key"][rows["folder"] == "data/augmented"])
    assert len(rows) == 2 + 1 + 2, "labelled: two of train, one augmented child, two to validate"
    assert rows["mean"].notna().all()


def test_stored_images_are_read_in_order(tmp_path, patches):
    keys = write_data(tmp_path, patches, {"train": 4, "validation": 2}, mean=[5.0])
    rows = examples.read_rows(tmp_path, "rating")
    images = StoredImages(tmp_path, rows, max_pixels=10**8)
    raw = dict(zip(keys, range(6), strict=True))
    for key, image in zip(rows["key"], images, strict=True):
        if key in raw and raw[key] % 2 == 0:
            np.testing.assert_array_equal(image, patches[raw[key]][:48, :48])
