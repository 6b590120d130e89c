"""The stage: kept representatives get a split; rejected copies do not."""

import json

import pytest

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from stages import split
from tests.labels.test_split import make_groups


def test_each_kept_image_gets_a_split_and_the_counts_add_up(tmp_path, values):
    groups = make_groups(40, label=["cat", "dog"] * 20)
    groups.loc[:3, "status"] = "rejected"
    tables.write_table(groups, tmp_path / split.SOURCE, tables.GROUPS)
    split.run(tmp_path, check_params(values, Params))
    table = tables.read_table(tmp_path / split.TARGET, tables.SPLIT)
    metrics = json.loads((tmp_path / split.METRICS).read_text())
    assert list(table["key"]) == list(groups["key"][4:])
    assert set(table["stratum"]) == {"cat", "dog"}
    assert table["split"].value_counts().to_dict() == {
        name: metrics[name]["images"] for name in ("train", "validation", "test")
    }
    assert metrics["groups"] == 36
    assert metrics["test"]["asked"] == 0.2
    assert metrics["test"]["share"] == pytest.approx(0.2, abs=0.03)
    strata = metrics["strata"]
    assert sum(strata["cat"].values()) + sum(strata["dog"].values()) == 36


def split_groups(root, values, groups):
    tables.write_table(groups, root / split.SOURCE, tables.GROUPS)
    split.run(root, check_params(values, Params))
    return tables.read_table(root / split.TARGET, tables.SPLIT).set_index("key")["split"]


def test_what_an_earlier_run_decided_stands_until_a_setting_changes(tmp_path, values):
    groups = make_groups(90, label=["cat", "dog", "owl"] * 30)
    first = split_groups(tmp_path, values, groups[:20])
    second = split_groups(tmp_path, values, groups)
    assert (second[first.index] == first).all()
    values["seed"] = 18
    assert (split_groups(tmp_path, values, groups) != second).any()


FAMILY = r"one family of look-alikes .* holds 39 of 40 images, .*; set dedupe\.relatives to scenes"
SOURCE_GROUP = r"the source group 'x' holds 39 of 40 images, .*; correct `group`"


@pytest.mark.parametrize(
    ("column", "expected"), [("family", FAMILY), ("source_group", SOURCE_GROUP)]
)
def test_a_split_that_training_needs_and_cannot_have_stops(tmp_path, values, column, expected):
    groups = make_groups(40, label=["cat", "dog"] * 20)
    groups.loc[:38, column] = groups["key"][0] if column == "family" else "x"
    values["train"]["task"] = "classification"
    with pytest.raises(UserError, match=rf"is in validation, while .* 2 groups .*{expected}"):
        split_groups(tmp_path, values, groups)
    values["train"]["task"] = "none"
    assert len(split_groups(tmp_path, values, groups)) == 40


def test_shares_that_cannot_be_had_are_said_with_the_cause(tmp_path, values, caplog):
    groups = make_groups(100)
    groups.loc[:89, "family"] = groups["key"][0]
    split_groups(tmp_path, values, groups)
    assert "split: train 90.0% (asked 70%)" in caplog.text
    assert "holds 90 of 100 images, which stay in one split; set dedupe.relatives" in caplog.text


def test_classes_without_an_image_in_a_split_are_said(tmp_path, values, caplog):
    split_groups(tmp_path, values, make_groups(41, label=["cat"] * 40 + ["owl"]))
    assert (
        "1 of 2 classes have no image in test, where nothing is known of them: 'owl'" in caplog.text
    )
