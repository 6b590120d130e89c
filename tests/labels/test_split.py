"""Splits: whole groups, stable under additions, stratified, official ones respected."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
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


def shares_of(found):
    counts = found["split"].value_counts(normalize=True)
    return [counts.get(name, 0) for name in ("train", "validation", "test")]


# up to a group of six per split, and one that alone is larger than validation and test
sizes = st.lists(st.integers(1, 6), min_size=40, max_size=150)


def of_sizes(numbers):
    of = np.repeat(np.arange(len(numbers)), numbers)
    return make_groups(len(of), source_group=[f"group {n}" for n in of])


@settings(max_examples=30)
@given(sizes, st.integers(0, 99))
def test_shares_are_as_asked(numbers, seed):
    shares = shares_of(splits_of(of_sizes(numbers), seed=seed))
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03 + 1e-9)


@settings(max_examples=30)
@given(sizes, st.integers(0, 99))
def test_a_large_group_goes_where_it_fits(numbers, seed):
    large = int(1.5 * sum(numbers))  # 60 % of all
    found = splits_of(of_sizes([*numbers, large]), seed=seed)
    assert (found["split"][-large:] == "train").all()
    assert shares_of(found) == pytest.approx([0.7, 0.1, 0.2], abs=0.03 + 1e-9)


def test_beside_a_group_too_large_for_any_split_the_others_share_the_rest():
    shares = shares_of(splits_of(of_sizes([276] + [1] * 24)))
    assert shares[0] == 0.92
    assert shares[2] == pytest.approx(2 * shares[1], abs=0.01)


def test_of_many_images_each_group_goes_by_its_hash_alone():
    """So that a small part of new images gives the table that all at once would."""
    labels = ["a", "b"] * 1500
    few, all_ = splits_of(make_groups(2700, label=labels[:2700])), splits_of(make_groups(3000))
    assert (few["split"] == all_["split"][:2700]).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 99))
def test_a_source_group_is_never_torn(numbers, seed):
    groups = make_groups(len(numbers), source_group=[f"group {n}" for n in numbers])
    assert (splits_of(groups, seed=seed).groupby("source_group")["split"].nunique() == 1).all()


labelled = st.lists(st.sampled_from("aaaabbc"), min_size=1, max_size=60)


@settings(max_examples=30)
@given(labelled, labelled, st.integers(0, 99))
def test_new_images_never_move_an_old_one(labels, more, seed):
    before = splits_of(make_groups(len(labels), label=labels), seed=seed)
    both = make_groups(len(labels + more), label=labels + more)
    after = splits_of(both, seed=seed, before=before)
    assert (after["split"][: len(labels)] == before["split"]).all()


def test_a_group_that_grows_or_gets_another_name_keeps_its_split():
    before = splits_of(of_sizes([1] * 50))
    grown = of_sizes([2] * 50)
    grown["key"] = [*before["key"].repeat(2)]
    grown.loc[::2, "key"] = [f"{number:032x}" for number in range(100, 150)]
    grown["copy_group"] = grown["family"] = grown["key"]
    grown["source_group"] = "another " + grown["source_group"]
    after = splits_of(grown, before=before).set_index("key")["split"]
    assert (after[before["key"]].to_numpy() == before["split"]).all()


def test_a_group_that_a_setting_parts_is_drawn_anew():
    before = splits_of(of_sizes([276] + [1] * 24))
    after = splits_of(make_groups(300), before=before)
    assert (after["split"][276:] == before["split"][276:]).all()
    assert shares_of(after) == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


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


@pytest.mark.parametrize(
    ("images", "splits"),
    [(1, ["train"]), (2, ["test", "train"]), (3, ["test", "train", "train"]),
     (4, ["test", "train", "train", "validation"])],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(5))
def test_of_a_small_class_train_comes_first_then_test_then_validation(images, splits, seed):
    found = splits_of(
        make_groups(200, label=["few"] * images + ["many"] * (200 - images)), seed=seed
    )
    assert sorted(found["split"][:images]) == splits


def test_many_small_classes_all_have_two_train_images_and_shares_hold():
    found = splits_of(make_groups(992, label=[f"{number // 4}" for number in range(992)]))
    assert (
        found[found["split"] == "train"].groupby("label").size().reindex(found["label"]) > 1
    ).all()
    assert shares_of(found) == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


def test_what_is_related_to_an_official_test_image_is_tested():
    groups = make_groups(20, official_split=["test"] * 10 + [None] * 10)
    groups["family"] = [*groups["key"][:10], *groups["key"][:10]]
    assert (splits_of(groups)["split"] == "test").all()


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
