"""Dedupe on small stores: copies, exact duplicates, conflicts, leaks across official splits."""

import json
import shutil

import cv2
import pytest

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from stages import clean, dedupe, embed
from tests.harness import damage_raw, png, store_records
from tests.review.stores import develop


@pytest.fixture
def build(tmp_path, values, patches, in_process):
    """Return a function that stores records and runs clean, embed and dedupe."""
    values["engine"]["workers"] = 1

    def run(records, **changes):
        for section, settings in changes.items():
            values[section].update(settings)
        store_records(tmp_path, records)
        params = check_params(values, Params)
        for stage in (clean, embed, dedupe):
            stage.run(tmp_path, params)
        folder = tmp_path / "data/dedupe"
        records = tables.read_table(folder / "records.parquet").set_index("name")
        return records, tables.read_table(folder / "groups.parquet").set_index("key")

    return run


def test_a_copy_goes_and_the_larger_original_stays(build, patches):
    records, _ = build(
        [
            ("original", png(patches[0]), {}),
            ("copy", png(patches[0][6:-6, 6:-6]), {}),
            ("other", png(patches[40]), {}),
        ]
    )
    assert records["status"].to_dict() == {
        "original": "kept", "copy": "rejected", "other": "kept",
    }  # fmt: skip
    assert records.loc["copy", "reason"] == "copy"
    assert records.loc["copy", "representative"] == records.loc["original", "key"]


@pytest.mark.parametrize(
    ("rule", "means", "status"),
    [
        ("keep", (3.0, 7.0), "kept"),
        ("reject", (3.0, 7.0), "rejected"),
        ("keep", (3.0, 3.0), "rejected"),
        ("keep", (3.0, None), "rejected"),
    ],
)
def test_a_copy_that_was_rated_apart_may_stay(build, patches, rule, means, status):
    records, groups = build(
        [
            ("original", png(patches[0]), {"mean": means[0]}),
            ("copy", png(patches[0][6:-6, 6:-6]), {"mean": means[1]}),
        ],
        dedupe={"rated_apart": rule},
    )
    assert records.loc["copy", "status"] == status
    assert groups["family"].nunique() == 1


def test_exact_duplicates_keep_one_record(build, patches):
    records, groups = build([(name, png(patches[0]), {"label": "x"}) for name in ("a", "b")])
    assert list(records["status"]) == ["kept", "rejected"]
    assert records.loc["b", "reason"] == "exact_duplicate"
    assert groups["records"].tolist() == [2]


CONFLICT = ("a", "x"), ("b", "y"), ("c", "y")


@pytest.mark.parametrize(
    ("rule", "label", "status"), [("drop", None, "rejected"), ("majority", "y", "kept")]
)
def test_conflicting_labels_are_settled_as_asked(build, patches, rule, label, status):
    same = [(name, png(patches[0]), {"label": value}) for name, value in CONFLICT]
    _, groups = build([*same, ("other", png(patches[50]), {})], dedupe={"label_conflict": rule})
    groups = groups[groups["records"] == 3]
    assert groups["label_conflict"].all()
    assert groups["status"].tolist() == [status]
    assert groups["label"].isna().all() if label is None else groups["label"].tolist() == [label]


def label_metrics(folder):
    return json.loads((folder / "metrics/dedupe.json").read_text())["labels"]


def test_small_classes_and_images_without_one_are_said_and_stay(build, patches, tmp_path, caplog):
    labels = [("cat", 30), ("cat", 31), ("dog", 40), (None, 50)]
    records, _ = build(
        [(f"{at}", png(patches[at]), {"label": label}) for label, at in labels],
        dedupe={"min_class_images": 2},
    )
    assert set(records["status"]) == {"kept"}
    assert label_metrics(tmp_path) == {
        "classes": 2, "small_classes": 1, "without_label": 1, "without_votes": 0,
    }  # fmt: skip
    assert "1 of 2 classes have fewer than dedupe.min_class_images: 2 images (dog 1)" in caplog.text
    assert "1 of 4 images have no class, others have" in caplog.text


def test_ratings_without_votes_are_said_and_are_no_rating(build, patches, tmp_path, caplog):
    votes = {"rated": [0, 3, 1], "nobody voted": [0, 0, 0], "empty": [], "none": None}
    records, groups = build(
        [
            (name, png(patches[10 * at]), {"ratings": v})
            for at, (name, v) in enumerate(votes.items())
        ]
    )
    assert set(records["status"]) == {"kept"}
    assert groups["ratings"].notna().sum() == 1
    assert label_metrics(tmp_path) == {
        "classes": 0, "small_classes": 0, "without_label": 0, "without_votes": 3,
    }  # fmt: skip
    assert "3 of 4 images have no votes" in caplog.text


def test_without_labels_there_is_nothing_to_say(build, patches, tmp_path, caplog):
    build([("a", png(patches[0]), {}), ("b", png(patches[40]), {})])
    assert set(label_metrics(tmp_path).values()) == {0}
    assert "class" not in caplog.text
    assert "votes" not in caplog.text


def test_conflicting_labels_may_be_an_error(build, patches):
    same = [(name, png(patches[0]), {"label": value}) for name, value in CONFLICT]
    with pytest.raises(UserError, match="label_conflict"):
        build(same, dedupe={"label_conflict": "error"})


def test_the_weaker_official_split_loses_its_leaking_copies(build, patches):
    records, _ = build(
        [
            ("train/a", png(patches[0]), {"official_split": "train"}),
            ("test/a", png(patches[0][6:-6, 6:-6]), {"official_split": "test"}),
            ("train/b", png(patches[30]), {"official_split": "train"}),
            ("val/b", png(patches[30]), {"official_split": "val"}),
        ]
    )
    assert records["status"].to_dict() == {
        "test/a": "kept", "train/a": "rejected", "train/b": "rejected", "val/b": "kept",
    }  # fmt: skip
    assert records.loc["train/a", "reason"] == "leaks_into_test"
    assert records.loc["train/b", "reason"] == "leaks_into_validation"


def test_leaks_are_counted_by_file_and_by_their_two_splits(build, patches, tmp_path):
    half = png(patches[0][6:-6, 6:-6])
    records, _ = build(
        [
            ("test/a", png(patches[0]), {"official_split": "test"}),
            ("test/a cut", half, {"official_split": "test"}),
            ("train/a cut", half, {"official_split": "train"}),
            ("val/a cut", half, {"official_split": "val"}),
            ("train/b", png(patches[30]), {"official_split": "train"}),
            ("val/b", png(patches[30]), {"official_split": "val"}),
            ("unsplit/b", png(patches[30]), {}),
        ]
    )
    metrics = json.loads((tmp_path / "metrics/dedupe.json").read_text())
    assert metrics["leaks"] == {
        "train_into_validation": 1, "train_into_test": 1, "validation_into_test": 1,
    }  # fmt: skip
    assert records.loc["test/a cut", "reason"] == "copy"
    assert records.loc["unsplit/b", "reason"] == "exact_duplicate"


@pytest.mark.parametrize(
    ("rule", "labels", "statuses", "apart", "otherwise"),
    [
        ("keep", "xy", ["kept", "kept"], 1, 0),
        ("keep", "xx", ["kept", "rejected"], 0, 0),
        ("keep", ("x", None), ["kept", "rejected"], 0, 0),
        ("conflict", "xy", ["rejected", "rejected"], 0, 0),
        ("reject", "xy", ["kept", "rejected"], 0, 1),
    ],
)
def test_labels_keep_copies_apart(
    build, patches, tmp_path, caplog, rule, labels, statuses, apart, otherwise
):
    records, groups = build(
        [
            ("a", png(patches[0]), {"label": labels[0]}),
            ("cut", png(patches[0][6:-6, 6:-6]), {"label": labels[1]}),
            ("other", png(patches[50]), {}),
        ],
        dedupe={"labelled_apart": rule},
    )
    assert records["status"].to_list() == [*statuses, "kept"]
    assert groups["family"].nunique() == 2
    assert groups["label_conflict"].sum() == 2 * (rule == "conflict")
    metrics = json.loads((tmp_path / "metrics/dedupe.json").read_text())
    assert metrics["pairs"]["labelled_apart"] == apart
    assert metrics["copies_labelled_otherwise"] == otherwise
    assert ("1 pairs look like copies and have different labels" in caplog.text) == bool(apart)
    assert ("1 images were rejected as copies of an image with" in caplog.text) == bool(otherwise)


def test_conflicting_labels_of_copies_may_be_an_error(build, patches):
    pair = [("a", png(patches[0]), {"label": "x"}), ("b", png(patches[0][6:, 6:]), {"label": "y"})]
    with pytest.raises(UserError, match="label_conflict"):
        build(pair, dedupe={"labelled_apart": "conflict", "label_conflict": "error"})


def test_an_exact_duplicate_joins_the_groups_of_its_records(build, patches):
    _, groups = build(
        [
            ("a", png(patches[0]), {"source_group": "one"}),
            ("b", png(patches[0]), {"source_group": "two"}),
            ("c", png(patches[30]), {"source_group": "two"}),
        ]
    )
    assert set(groups["source_group"]) == {"one"}


def test_different_patches_all_stay(build, patches):
    records, _ = build([(f"{n:02d}", png(patches[n]), {}) for n in range(30)])
    assert (records["status"] == "kept").all()


def test_nothing_left_stops_with_the_reason_and_the_setting(build, patches):
    disputed = [(name, png(patches[0]), {"label": name}) for name in "ab"]
    with pytest.raises(UserError, match=r"1 label_conflict.*dedupe\.label_conflict to majority"):
        build(disputed)


def test_classes_that_lose_their_last_image_are_named(build, patches, caplog):
    disputed = [(name, png(patches[0]), {"label": name}) for name in "ab"]
    small = [(f"{at}", png(patches[at]), {"label": "few"}) for at in (50, 51)]
    many = [(f"{at}", png(patches[at]), {"label": "many"}) for at in (10, 30, 40)]
    _, groups = build(
        [*disputed, *small, *many], dedupe={"min_class_images": 3, "small_classes": "reject"}
    )
    assert (groups["reason"] == "small_class").sum() == 2
    assert set(groups.loc[groups["status"] == "kept", "label"]) == {"many"}
    assert (
        "3 of 4 classes lose all their images and cannot be learned: 'a' (1 label_conflict), 'b' (1"
        " label_conflict), 'few' (2 small_class)"
    ) in caplog.text


def test_a_photograph_laid_onto_another_goes_and_history_does_not_show(build, patches, tmp_path):
    laid = patches[41].copy()
    laid[30:86, 8:64] = cv2.resize(patches[0], (56, 56), interpolation=cv2.INTER_AREA)
    later = [("collage", png(laid), {})]
    first = [(f"{n:02d}", png(patches[n]), {}) for n in range(12)]
    build(first)
    records, _ = build(first + later)
    pairs = tmp_path / "data/dedupe/pairs.parquet"
    found = tables.read_table(pairs)
    assert list(found.loc[found["duplicate"], "decided_by"]) == ["placed"]
    assert (records["status"] == "rejected").sum() == 1
    assert set(records["representative"][["00", "collage"]]) <= set(records["key"])
    before = pairs.read_bytes()
    shutil.rmtree(tmp_path / ".darkroom/dedupe")
    build(first + later)
    assert pairs.read_bytes() == before


def test_a_picture_that_no_longer_decodes_is_nobodys_copy_and_said(store, caplog):
    root, keys = store
    shutil.rmtree(root / ".darkroom/dedupe")  # what was found before the damage
    damage_raw(root, keys["alpha.png"])
    ends = develop(root, dedupe)["status"]
    assert (ends["alpha.png"], ends["alpha copy.png"]) == ("kept", "kept")
    assert ends["beta copy.png"] == "rejected"
    assert "a picture that embed could read: not_an_image" in caplog.text
