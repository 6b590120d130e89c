import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.augmentation.chains import (
    LABEL_PRESERVING,
    Recipe,
    allowed_operations,
    apply,
    draw_variants,
)
from darkroom.augmentation.operations import OPERATIONS
from darkroom.core.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 68, 3), np.uint8)


def draw(count, seed=17, parent="a", names=tuple(OPERATIONS), length=(1, 3), size=(60, 68)):
    recipe = Recipe(allowed_operations("none", names), length, "reflect")
    return draw_variants(seed, parent, count, recipe, size)


@pytest.mark.parametrize(
    ("task", "wanted", "expected"),
    [
        ("rating", "auto", ["horizontal_flip", "shift", "crop"]),
        ("classification", "auto", list(OPERATIONS)),
        ("none", "auto", []),
        ("none", ["gaussian_noise"], ["gaussian_noise"]),
        ("rating", ["crop", "horizontal_flip"], ["horizontal_flip", "crop"]),
    ],
)
def test_what_keeps_a_label_true(task, wanted, expected):
    assert [name for name, _ in allowed_operations(task, wanted)] == expected


def test_limits_are_the_defaults_or_as_given():
    wanted = [{"rotation": 90}, "shear", "vertical_flip"]
    limits = allowed_operations("classification", wanted)
    assert limits == (("vertical_flip", 0.0), ("rotation", 90.0), ("shear", 0.15))
    recipe = Recipe(limits[1:2], (1, 1), "wrap")
    drawn = [chain[0] for chain in draw_variants(1, "a", 200, recipe, (9, 9))]
    assert {step["fill"] for step in drawn} == {"wrap"}
    assert 80 < max(abs(step["degrees"]) for step in drawn) <= 90


@pytest.mark.parametrize(
    ("task", "wanted", "message"),
    [
        ("classification", ["blurr"], "augment.operations names blurr; known are horizontal_flip"),
        (
            "rating",
            ["shift", "gaussian_noise", "blur"],
            "names blur, gaussian_noise, after which.*train.task: rating",
        ),
        ("classification", [{"rotation": 200}], "rotation: expected a number from 0.1 to 180, got"),
        ("classification", [{"rotation": "much"}], "rotation: expected a number.*got 'much'"),
        ("classification", [{"jpeg": 49.5}], "jpeg: expected a whole number from 1 to 100"),
        ("classification", [{"vertical_flip": 1}], "vertical_flip has no limit, got 1"),
        ("classification", [{"rotation": 5, "blur": 1}], "one name with its limit"),
        ("classification", [{"zoom": 1}], "zoom: expected a number from 1.01 to 4, got 1"),
        ("rating", [{"crop": 0.4}], "crop: expected at most 0.15 with train.task: rating"),
        ("classification", [], "empty list.*auto"),
    ],
)
def test_what_does_not_is_explained(task, wanted, message):
    with pytest.raises(UserError, match=message):
        allowed_operations(task, wanted)


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 12), st.sampled_from(["rating", "classification"]))
def test_more_variants_change_no_earlier_one_and_all_differ(seed, count, task):
    names = LABEL_PRESERVING[task]
    chains = draw(count, seed, names=names)
    assert draw(count - 1, seed, names=names) == chains[:-1]
    images = {apply(PIXELS, chain).tobytes() for chain in chains}
    assert len(images) == count
    assert PIXELS.tobytes() not in images


def test_steps_that_drew_nothing_make_no_second_copy():
    pixels = PIXELS[:16, :16]
    for parent in "abcdefgh":
        chains = draw(8, parent=parent, names=LABEL_PRESERVING["rating"], size=(16, 16))
        assert len({apply(pixels, chain).tobytes() for chain in chains}) == 8
    for chain in draw(12, names=[{"zoom": 1.01}]):
        assert chain[0]["factor"] != 1


def test_lengths_and_operations_are_as_asked_and_all_occur():
    chains = draw(300)
    assert {len(chain) for chain in chains} == {1, 2, 3}
    assert {step["name"] for chain in chains for step in chain} == set(OPERATIONS)
    for chain in chains:
        places = [list(OPERATIONS).index(step["name"]) for step in chain]
        assert places == sorted(set(places))


def test_variants_depend_on_seed_and_parent():
    assert draw(3) == draw(3)
    assert draw(3) != draw(3, seed=18)
    assert draw(3) != draw(3, parent="b")


def test_the_text_makes_the_same_image_again():
    for chain in draw(20):
        again = apply(PIXELS, json.loads(json.dumps(chain)))
        assert np.array_equal(again, apply(PIXELS, chain))


def test_too_few_different_variants_are_an_error():
    assert len(draw(1, names=["horizontal_flip"])) == 1
    with pytest.raises(UserError, match=r"only 1 different variants of image a.*asks for 2"):
        draw(2, names=["horizontal_flip"])
