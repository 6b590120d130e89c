import numpy as np
import pandas as pd
import pytest

from benchmarks.public import compare, divide_given, given_rows
from darkroom.core import tables
from tests.evaluation.samples import SETTINGS


def make_tables(files):
    """Return INDEX, RECORDS and SPLIT for files of (name, key, official split, representative)."""
    index, records = [], []
    for place, (name, key, official, best) in enumerate(files):
        index.append({
            **dict.fromkeys(tables.INDEX.names), "source": "s", "name": name, "uri": name,
            "key": key, "shard": "00000.tar", "offset": 512 * place, "size": 9, "status": "kept",
            "label": "cat", "official_split": official,
        })  # fmt: skip
        records.append({
            "source": "s", "name": name, "key": key, "status": "kept", "reason": None,
            "representative": best,
        })  # fmt: skip
    kept = sorted({best for *_, best in files if best})
    splits = pd.DataFrame({"key": kept, "split_group": [f"group of {key}" for key in kept]})
    return pd.DataFrame(index), pd.DataFrame(records), splits


def test_every_file_stays_where_its_source_puts_it_and_copies_across_are_leaks():
    index, records, splits = make_tables([
        ("a", "k1", "train", "k1"),
        ("b", "k1", "holdout", "k1"),  # the same bytes
        ("c", "k2", "train", "k3"),
        ("d", "k3", "test", "k3"),  # another file, but a copy by dedupe's judgement
        ("e", "k4", "test", "k4"),
        ("f", "k5", "test", None),  # what clean rejected is still among the files given
    ])  # fmt: skip
    rows = given_rows(index, records, splits, {"holdout": "test"}).set_index("name")
    assert rows["split"].to_dict() == {
        "a": "train", "b": "test", "c": "train", "d": "test", "e": "test", "f": "test",
    }  # fmt: skip
    assert list(rows.index[rows["leaked"]]) == ["b", "d"]
    assert rows["split_group"].to_dict() == {
        "a": "group of k1", "b": "group of k1", "c": "group of k3", "d": "group of k3",
        "e": "group of k4", "f": "k5",
    }  # fmt: skip
    assert rows.loc["a", "offset"] == rows.loc["b", "offset"]


def test_the_images_given_as_test_are_tested_and_the_others_train_or_stop():
    rows = pd.DataFrame({"split": ["train", "test"] * 30, "label": ["cat", "dog", "cow"] * 20})
    fit, stop, test = divide_given(rows, 3)
    assert list(test) == list(range(1, 60, 2))
    assert sorted([*fit, *stop]) == list(range(0, 60, 2))
    assert 4 <= len(stop) <= 6
    assert [list(part) for part in divide_given(rows, 3)] == [list(fit), list(stop), list(test)]


def test_what_leakage_hides_is_the_change_of_the_leaked_images_alone():
    images = pd.DataFrame(
        {"split_group": [f"g{i}" for i in range(40)], "leaked": [True, False] * 20}
    )
    before, after = images.assign(right=True), images.assign(right=~images["leaked"])
    after.loc[0, "right"] = True
    tested = pd.concat([before.assign(moment="before"), after.assign(moment="after")])
    found = compare(tested.assign(seed=1), SETTINGS)
    gain = {name: metrics["before less after"]["value"] for name, metrics in found.items()}
    assert gain == pytest.approx(
        {"all test images": 0.475, "of which leaked": 0.95, "not leaked": 0}
    )


def test_more_seeds_count_no_image_twice():
    rng = np.random.default_rng(0)
    groups = [f"g{i}" for i in range(40)]
    one = pd.DataFrame({"split_group": groups, "leaked": False, "right": rng.random(40) < 0.8})
    once = pd.concat([one.assign(moment=moment) for moment in ("before", "after")])
    lengths = []
    for seeds in (1, 5):
        table = pd.concat([once.assign(seed=seed) for seed in range(seeds)])
        interval = compare(table, SETTINGS)["all test images"]["before"]["ci95"]
        lengths.append(interval["high"] - interval["low"])
    assert lengths[1] == pytest.approx(lengths[0], rel=0.1)
