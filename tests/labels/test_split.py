"""Splits: whole groups, stable under additions, stratified, official ones respected."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.params.split import SplitParams
from darkroom.labels import split
from darkroom.labels.official_splits import standard_split

PARAMS = SplitParams(validation=0.1, test=0.2, official="respect", map={})


def make_groups(count, **columns):
    keys = [f"{number:032x}" for number in range(count)]
    frame = pd.DataFrame({name: [None] * count for name in tables.GROUPS.names}, dtype=object)
    frame["key"] = frame["copy_group"] = frame["family"] = frame["representative"] = keys
    frame["status"], frame["records"], frame["label_conflict"] = "kept", 1, False
    return frame.assign(**columns)


def splits_of(groups, params=PARAMS, seed=17, before=None):
    groups = groups.assign(split_group=groups["key"].map(split.split_groups(groups)))
    groups["stratum"] = split.find_strata(groups)
    known = dict(zip(groups["key"], groups["split_group"], strict=True))
    earlier = {} if before is None else split.earlier_splits(before, known)
    return groups.assign(split=split.assign_splits(groups, seed, params, earlier))


def test_shares_are_about_as_asked():
    counts = splits_of(make_groups(3000))["split"].value_counts(normalize=True)
    assert counts["test"] == pytest.approx(0.2, abs=0.03)
    assert counts["validation"] == pytest.approx(0.1, abs=0.02)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 99))
def test_a_source_group_is_never_torn(numbers, seed):
    groups = make_groups(len(numbers), source_group=[f"group {n}" for n in numbers])
    assert (splits_of(groups, seed=seed).groupby("source_group")["split"].nunique() == 1).all()


def test_new_images_move_no_old_one():
    before = splits_of(make_groups(200, label=["a", "b"] * 100)).set_index("key")["split"]
    after = splits_of(make_groups(400, label=["a", "b"] * 200)).set_index("key")["split"]
    assert (after[before.index] == before).all()


def test_a_rejected_copy_links_its_source_group_to_the_representative():
    groups = make_groups(3, source_group=["x", None, "y"])
    groups["copy_group"] = [groups["key"][0], groups["key"][2], groups["key"][0]]
    groups.loc[2, "copy_group"] = groups["key"][0]
    groups["copy_group"] = [groups["key"][0], groups["key"][1], groups["key"][0]]
    names = split.split_groups(groups)
    assert names[groups["key"][0]] == names[groups["key"][2]] == "x"
    assert names[groups["key"][1]] == groups["key"][1]


def test_every_class_reaches_every_split():
    few = SplitParams(validation=0.01, test=0.01, official="respect", map={})
    found = splits_of(make_groups(12, label=["rare"] * 4 + ["common"] * 8), few)
    assert (found.groupby("label")["split"].nunique() == 3).all()


def test_official_splits_are_respected_and_validation_is_carved_from_train():
    official = ["test"] * 30 + ["train"] * 70
    found = splits_of(make_groups(100, official_split=official, label=["a"] * 100))
    assert (found["split"][:30] == "test").all()
    assert set(found["split"][30:]) == {"train", "validation"}


def test_a_source_group_across_official_splits_is_an_error():
    groups = make_groups(2, source_group=["x", "x"], official_split=["train", "test"])
    with pytest.raises(UserError, match=r"split\.official: ignore"):
        split.refuse_torn_sources(groups)


def test_quintiles_come_from_votes_or_means():
    votes = make_groups(10, ratings=[[0] * k + [30] + [0] * (9 - k) for k in range(10)])
    means = make_groups(10, mean=np.arange(10.0))
    assert list(split.find_strata(votes)) == list(split.find_strata(means))
    assert split.find_strata(means).nunique() == 5


def test_unlabelled_images_have_no_stratum():
    assert split.find_strata(make_groups(3)).isna().all()


@pytest.mark.parametrize(
    ("name", "expected"), [("val", "validation"), ("Dev", "validation"), ("holdout", "test")]
)
def test_names_of_splits(name, expected):
    assert standard_split(name, {"holdout": "test"}) == expected


def test_an_unknown_split_says_what_to_do():
    with pytest.raises(UserError, match=r"split\.map: \{holdout: test\}"):
        standard_split("holdout", {})
