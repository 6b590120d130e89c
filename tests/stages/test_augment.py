import io
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from darkroom.augmentation import balance, generate
from darkroom.augmentation.chains import apply
from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.scale import Scale
from darkroom.core.params.whole import Params
from darkroom.images import decode
from stages import augment
from tests.harness import damage_raw


def photograph(seed):
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def write_data(
    root, count, splits=("train", "train", "test", "validation"), unlabelled=(), labels=(),
    means=(),
):  # fmt: skip
    """Write `count` images with labels and ratings; image n is in split n modulo 4."""
    contents = [photograph(seed) for seed in range(count)]
    keys = [shards.key_of(content) for content in contents]
    places = shards.write_shard(
        root / "data/raw/00000.tar",
        [(f"{key}.png", content) for key, content in zip(keys, contents, strict=True)],
    )
    blank = dict.fromkeys(tables.LABEL_COLUMNS)
    found = [
        blank
        if at in unlabelled
        else blank | {"label": labels[at] if labels else "cat", "mean": means[at] if means else 5.0}
        for at in range(count)
    ]
    index = [
        dict.fromkeys(tables.INDEX.names) | place._asdict() | label
        | {"source": "s", "name": f"{key}.png", "key": key, "status": "kept"}
        for key, place, label in zip(keys, places, found, strict=True)
    ]  # fmt: skip
    groups = [
        label | {"key": key, "copy_group": key, "family": key, "representative": key, "records": 1,
                 "status": "kept", "reason": None, "label_conflict": False}
        for key, label in zip(keys, found, strict=True)
    ]  # fmt: skip
    split = [
        {"key": key, "split": splits[at % len(splits)], "split_group": key, "stratum": None}
        for at, key in enumerate(keys)
    ]
    write(index, root / "data/raw/index.parquet", tables.INDEX, ["source", "name"])
    write(groups, root / "data/dedupe/groups.parquet", tables.GROUPS)
    write(split, root / "data/split.parquet", tables.SPLIT)
    return pd.DataFrame(split).set_index("key")["split"]


def write(rows, path, schema, sort_by=("key",)):
    tables.write_table(pd.DataFrame(rows, columns=schema.names), path, schema, sort_by)


def run(root, values, task="classification", **changes):
    values["train"]["task"] = task
    values["augment"] |= changes
    augment.run(root, check_params(values, Params))
    index = tables.read_table(root / "data/augmented/index.parquet", tables.AUGMENTED)
    return index, json.loads((root / "metrics/augment.json").read_text())


def contents_of(root):
    return {p.name: p.read_bytes() for p in sorted((root / "data/augmented").iterdir())}


def image_of(root, row):
    place = shards.Location(row.shard, row.offset, row.size)
    return shards.read_member(root / "data/augmented", place)


@pytest.mark.parametrize("target", [6, 7, 11, 12, 13, 31])
def test_the_target_is_met_exactly_and_shared_evenly(tmp_path, values, target):
    split = write_data(tmp_path, 12)
    index, metrics = run(tmp_path, values, target=target)
    train = set(split[split == "train"].index)
    assert len(train) == 6
    assert len(index) == target - 6
    assert metrics["new_images"] == len(index)
    assert (metrics["train_images"], metrics["target"]) == (6, target)
    assert set(index["parent"]) <= train
    per_parent = index["parent"].value_counts().reindex(sorted(train), fill_value=0)
    assert per_parent.max() - per_parent.min() <= 1
    assert index["key"].is_unique


def test_the_index_tells_how_each_image_was_made(tmp_path, values):
    write_data(tmp_path, 12)
    index, metrics = run(tmp_path, values, target=30)
    raw = shards.stored(tables.read_table(tmp_path / "data/raw/index.parquet")).set_index("key")
    names = []
    for row in index.itertuples():
        content = image_of(tmp_path, row)
        assert shards.key_of(content) == row.key
        place = shards.Location(*raw.loc[row.parent])
        parent = decode.decode(shards.read_member(tmp_path / "data/raw", place))
        chain = json.loads(row.operations)
        assert np.array_equal(decode.decode(content), apply(parent, chain))
        names += [step["name"] for step in chain]
    assert metrics["operations"] == pd.Series(names).value_counts().to_dict()


def test_a_parent_that_no_longer_decodes_is_passed_over_and_counted(tmp_path, values):
    split = write_data(tmp_path, 12)
    damaged, *others = split.index[split == "train"]
    damage_raw(tmp_path, damaged)
    index, metrics = run(tmp_path, values, target=30)
    assert set(index["parent"]) == set(others)
    assert metrics["failed_parents"] == {"not_an_image": 1}
    assert metrics["new_images"] == len(index) == 20


def test_ratings_keep_the_pixels_as_they_are(tmp_path, values):
    write_data(tmp_path, 8)
    _, metrics = run(tmp_path, values, task="rating", target=40)
    assert set(metrics["operations"]) == {"horizontal_flip", "shift", "crop"}


def test_it_repeats_byte_for_byte_for_any_number_of_workers(tmp_path, values, monkeypatch):
    write_data(tmp_path, 12)
    monkeypatch.setattr(generate, "FEWEST_FOR_PROCESSES", 1)
    monkeypatch.setattr(generate, "VARIANTS_PER_BATCH", 2)
    monkeypatch.setattr(shards, "MAX_IMAGES", 10)
    values["engine"]["workers"] = 1
    run(tmp_path, values, target=36)
    once = contents_of(tmp_path)
    values["engine"]["workers"] = 2
    run(tmp_path, values, target=36)
    assert contents_of(tmp_path) == once
    assert sorted(once) == ["00000.tar", "00001.tar", "00002.tar", "index.parquet"]
    with tarfile.open(tmp_path / "data/augmented/00002.tar") as archive:
        assert len(archive.getnames()) == 10


def test_added_images_change_no_earlier_new_image(tmp_path, values):
    write_data(tmp_path, 12)
    before, _ = run(tmp_path, values, target=24)  # three of each
    write_data(tmp_path, 24)
    after, _ = run(tmp_path, values, target=48)
    columns = ["key", "parent", "variant", "operations"]
    merged = before[columns].merge(after[columns], on=["parent", "variant"])
    assert len(merged) == len(before)
    assert (merged["key_x"] == merged["key_y"]).all()


def test_a_second_run_leaves_no_stale_shard(tmp_path, values, monkeypatch):
    write_data(tmp_path, 8)
    monkeypatch.setattr(shards, "MAX_IMAGES", 5)
    run(tmp_path, values, target=20)
    run(tmp_path, values, target=9)
    assert sorted(contents_of(tmp_path)) == ["00000.tar", "index.parquet"]


def test_unlabelled_images_are_no_parents_where_labels_are_needed(tmp_path, values):
    write_data(tmp_path, 8, splits=("train",), unlabelled=(0, 1, 2))
    index, metrics = run(tmp_path, values, target=15)
    assert metrics["train_images"] == 5
    assert len(index) == 10
    assert index["parent"].nunique() == 5


@pytest.mark.parametrize(
    ("task", "target"), [("none", 900), ("classification", 0), ("rating", 0), ("rating", 4)]
)
def test_nothing_to_make_gives_a_valid_empty_index(tmp_path, values, task, target):
    write_data(tmp_path, 8)
    index, metrics = run(tmp_path, values, task=task, target=target)
    assert len(index) == 0
    assert (metrics["train_images"], metrics["new_images"], metrics["operations"]) == (4, 0, {})
    assert list(contents_of(tmp_path)) == ["index.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 3}, r"augment\.target is 3, but the train split has 4.*Set it to 4 or more"),
        ({"operations": ["swirl"]}, "swirl; known are"),
        ({"task": "rating", "operations": ["gaussian_noise"]}, "no longer true"),
        ({"operations": ["horizontal_flip"], "target": 20}, "different variants"),
        ({"operations": [{"rotation": 999}]}, "expected a number from 0.1 to 180"),
        ({"task": "rating", "fill": "constant"}, "leaves black bars that nobody rated"),
        ({"balance": "score_bin"}, "balance is score_bin, which is for train.task: rating"),
        ({"task": "rating", "balance": "class"}, "which is for train.task: classification"),
        ({"operations_per_image": [3, 1]}, "expected \\[least, most\\]"),
    ],
)
def test_wrong_settings_stop_with_a_remedy(tmp_path, values, changes, message):
    write_data(tmp_path, 8)
    with pytest.raises(UserError, match=message):
        run(tmp_path, values, **changes)


def test_labels_that_the_task_cannot_use_are_an_error(tmp_path, values):
    write_data(tmp_path, 4, unlabelled=range(4))
    with pytest.raises(UserError, match=r"no image with a label for train\.task: rating"):
        run(tmp_path, values, task="rating")


def test_rare_classes_are_filled_first(tmp_path, values):
    write_data(tmp_path, 12, splits=("train",), labels=["cat"] * 9 + ["dog"] * 3)
    index, _ = run(tmp_path, values, target=18, balance="class")
    groups = tables.read_table(tmp_path / "data/dedupe/groups.parquet").set_index("key")
    assert groups.loc[index["parent"], "label"].value_counts().to_dict() == {"dog": 6}


def test_rare_score_bins_are_filled_first(tmp_path, values):
    write_data(tmp_path, 8, splits=("train",), means=[5.0] * 6 + [8.8, 9.2])
    index, _ = run(tmp_path, values, task="rating", target=14, balance="score_bin")
    groups = tables.read_table(tmp_path / "data/dedupe/groups.parquet").set_index("key")
    assert groups.loc[index["parent"], "mean"].round().value_counts().to_dict() == {9.0: 5, 5.0: 1}


@pytest.mark.parametrize("votes", [[1, 2, 3], [0] * 10])
def test_votes_that_fit_no_scale_are_explained(votes):
    rows = pd.DataFrame({"mean": [None], "ratings": [votes]})
    with pytest.raises(UserError, match=r"expected votes for 10 bins.*train\.scale"):
        balance.score_bins(rows, Scale(low=1, high=10, bins=10))


@pytest.mark.parametrize("fill", ["constant", "wrap"])
def test_what_is_moved_in_is_as_asked_and_written_down(tmp_path, values, fill):
    write_data(tmp_path, 4, splits=("train",))
    index, _ = run(tmp_path, values, target=12, operations=[{"shift": 0.4}], fill=fill)
    steps = [step for text in index["operations"] for step in json.loads(text)]
    assert {step["fill"] for step in steps} == {fill}


def test_of_one_class_normal_images_alone_are_augmented(tmp_path, values):
    split = write_data(tmp_path, 8, labels=["cat", "dog"] * 4)
    values["train"] |= ONE_CLASS
    values["augment"] |= {"target": 4}
    augment.run(tmp_path, check_params(values, Params))
    made = pd.read_parquet(tmp_path / "data/augmented/index.parquet")
    assert len(made) == 2
    index = pd.read_parquet(tmp_path / "data/raw/index.parquet").set_index("key")
    assert set(index["label"][made["parent"]]) == {"cat"}
    assert set(split[made["parent"]]) == {"train"}


ONE_CLASS = {"task": "one_class", "normal_class": "cat", "backbone": "bundled", "image_size": 128}


@pytest.mark.parametrize(
    ("changes", "labels", "words"),
    [
        pytest.param({"normal_class": "cow"}, ["cat", "dog"],
                     "train.normal_class: expected one of the labels 'cat', 'dog'; got 'cow'",
                     id="unknown"),
        pytest.param({}, [None, None], "no image has a label: set train.task to rating",
                     id="no labels"),
    ],
)  # fmt: skip
def test_an_impossible_normal_class_is_explained(tmp_path, values, changes, labels, words):
    write_data(tmp_path, 4, labels=labels * 2)
    values["train"] |= ONE_CLASS | changes
    with pytest.raises(UserError, match=words):
        augment.run(tmp_path, check_params(values, Params))


def test_one_class_is_not_balanced(tmp_path, values):
    write_data(tmp_path, 4)
    values["train"] |= ONE_CLASS
    values["augment"] |= {"balance": "class"}
    with pytest.raises(UserError, match=r"balance is class, which is for train\.task: classif"):
        augment.run(tmp_path, check_params(values, Params))
