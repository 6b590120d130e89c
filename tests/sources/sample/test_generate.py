"""The embedded sample keeps what issue 2 asks of it."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from darkroom.images import decode
from darkroom.images.formats import sniff_extension
from darkroom.sources.sample import degradations, edits, generate, photographs

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def truth():
    return pd.DataFrame([file.truth for file in generate.files()])


@pytest.fixture(scope="module")
def by_name():
    return {file.name: file for file in generate.files()}


def test_at_least_600_patches_of_at_least_16_photographs(truth):
    originals = truth[truth["role"] == "original"]
    assert len(originals) >= 600
    assert originals["photograph"].nunique() >= 16


def test_no_photograph_or_group_gives_over_15_percent(truth):
    originals = truth[truth["role"] == "original"]
    groups = pd.Series([file.group for file in generate.files()])
    assert originals["photograph"].value_counts(normalize=True).max() <= 0.15
    assert truth["photograph"].value_counts(normalize=True).max() <= 0.15
    assert groups.value_counts(normalize=True).max() <= 0.15


def test_the_stereo_pair_shares_a_group_and_shows_no_row_twice():
    groups = {file.group for file in generate.files() if "motorcycle" in file.truth.photograph}
    assert groups == {"motorcycle"}
    tops = {
        photograph.name: {top for top, _, _ in photographs.cut(photograph)}
        for photograph in photographs.PHOTOGRAPHS
        if photograph.group == "motorcycle"
    }
    left, right = tops["motorcycle_left"], tops["motorcycle_right"]
    assert all(abs(a - b) >= photographs.SIDE_PX for a in left for b in right)


def test_patches_do_not_overlap():
    side = photographs.SIDE_PX
    for photograph in photographs.PHOTOGRAPHS:
        places = np.array([(top, left) for top, left, _ in photographs.cut(photograph)])
        apart = np.abs(places[:, None] - places[None]).max(axis=2)
        np.fill_diagonal(apart, side)
        assert apart.min() >= side, photograph.name


def test_most_are_degraded_by_each_kind_at_each_level(truth):
    originals = truth[truth["role"] == "original"]
    assert originals["kind"].notna().mean() > 0.5
    counts = originals.dropna(subset="kind").groupby(["kind", "level"]).size().unstack()
    assert set(counts.index) == set(degradations.KINDS)
    assert len(degradations.KINDS) >= 5
    assert list(counts.columns) == [1, 2, 3, 4]
    assert counts.min(axis=None) >= 15


def test_every_photograph_holds_many_conditions(truth):
    """Else a model could learn the photograph in place of the fault."""
    originals = truth[truth["role"] == "original"].fillna({"kind": "none"})
    kinds = originals.groupby("photograph")["kind"].nunique()
    assert kinds.min() >= 4


def test_no_original_is_flat_or_anothers_bytes(by_name):
    originals = [file for file in by_name.values() if file.truth.role == "original"]
    assert len({file.content for file in originals}) == len(originals)
    contrasts = [decode.decode(file.content).mean(axis=2).std() for file in originals]
    assert min(contrasts) >= 4


@pytest.mark.parametrize("kind", degradations.KINDS)
def test_a_higher_level_is_further_from_the_patch(kind):
    _, _, patch = photographs.cut(photographs.PHOTOGRAPHS[0])[12]
    errors = [
        np.abs(
            degradations.degrade(patch, kind, level, np.random.default_rng(1)).astype(float) - patch
        ).mean()
        for level in (1, 2, 3, 4)
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_ratings_are_a_whole_panel_and_follow_the_level(truth, by_name):
    votes = np.array([by_name[name].ratings for name in truth["name"]])
    assert votes.shape[1] == generate.SCORES
    assert (votes.sum(axis=1) == generate.PANEL_SIZE).all()
    assert (votes >= 0).all()
    means = pd.Series(votes @ np.arange(1, 11) / generate.PANEL_SIZE)
    originals = (truth["role"] == "original").to_numpy()
    by_level = means[originals].groupby(truth.loc[originals, "level"].to_numpy()).mean()
    assert list(by_level) == sorted(by_level, reverse=True)


def test_the_ground_truth_is_complete(truth, by_name):
    assert truth["name"].is_unique
    planted = truth[truth["role"] != "original"]
    assert planted["of"].notna().all()
    assert planted["transformation"].notna().all()
    originals = set(truth.loc[truth["role"] == "original", "name"])
    assert set(planted["of"]) <= originals
    assert set(truth["name"]) == set(by_name)


def test_planted_copies_of_each_kind_carry_their_originals_ratings(truth, by_name):
    planted = truth[truth["role"] == "copy"]
    assert len(planted) >= 200
    counts = planted["transformation"].value_counts()
    assert set(counts.index) == set(edits.EDITS)
    assert counts.min() >= 5
    for row in planted.itertuples():
        copy, original = by_name[row.name], by_name[row.of]
        assert copy.ratings == original.ratings
        assert copy.group == original.group
        assert copy.content != original.content


def test_equal_bytes_are_planted_and_nothing_else(truth, by_name):
    duplicates = truth[truth["role"] == "exact_duplicate"]
    for row in duplicates.itertuples():
        duplicate, original = by_name[row.name], by_name[row.of]
        assert duplicate.content == original.content
        differs = duplicate.ratings != original.ratings
        assert differs == (row.transformation == "conflicting_label")
    assert set(duplicates["transformation"]) == {"same_label", "conflicting_label"}
    contents = {file.content for file in by_name.values()}
    assert len(contents) == len(truth) - len(duplicates)


FAULTS = {
    "truncated": {"truncated", "corrupt"},  # what is cut within the header is no longer readable
    "flipped_bytes": {"truncated", "corrupt", "not_an_image"},
    "empty": {"empty"},
    "zeros": {"not_an_image"},
    "html": {"not_an_image"},
}


def test_every_corrupt_file_and_no_other_fails_a_strict_decode(truth, by_name):
    found = {}
    for name, file in by_name.items():
        try:
            decode.decode(file.content)
        except decode.DecodeError as error:
            found[name] = error.reason
    corrupt = truth[truth["role"] == "corrupt"].set_index("name")["transformation"]
    assert set(found) == set(corrupt.index)
    assert set(corrupt) == set(FAULTS)
    assert all(reason in FAULTS[corrupt[name]] for name, reason in found.items())


def test_wrong_extensions_are_fine_images(truth, by_name):
    wrong = truth[truth["transformation"] == "wrong_extension"]
    assert len(wrong) == generate.WRONG_EXTENSIONS
    for name in wrong["name"]:
        extension = name.rpartition(".")[2]
        assert sniff_extension(by_name[name].content) != extension
        Image.open(io.BytesIO(by_name[name].content)).load()


def test_another_process_makes_the_same_bytes():
    code = (
        "import hashlib\n"
        "from darkroom.sources.sample import generate\n"
        "print(hashlib.sha256(repr(generate.files()).encode()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == hashlib.sha256(repr(generate.files()).encode()).hexdigest()
