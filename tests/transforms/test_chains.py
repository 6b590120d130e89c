import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.failures import UserError
from stages.transforms.chains import (
    LABEL_TRUE,
    allowed_operations,
    apply,
    draw_variants,
    to_json,
)
from stages.transforms.operations import OPERATIONS

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 68, 3), np.uint8)


def draw(count, seed=17, parent="a", names=tuple(OPERATIONS), length=(1, 3), size=(60, 68)):
    return draw_variants(seed, parent, count, names, length, size)


@pytest.mark.parametrize(
    ("task", "wanted", "expected"),
    [
        ("rating", "auto", ["horizontal_flip", "shift", "crop"]),
        ("classification", "auto", list(OPERATIONS)),
        ("none", "auto", []),
        ("none", ["noise"], ["noise"]),
        ("rating", ["crop", "horizontal_flip"], ["horizontal_flip", "crop"]),
    ],
)
def test_what_keeps_a_label_true(task, wanted, expected):
    assert allowed_operations(task, wanted) == expected


@pytest.mark.parametrize(
    ("task", "wanted", "message"),
    [
        ("classification", ["blurr"], "augment.operations names blurr; known are horizontal_flip"),
        (
            "rating",
            ["shift", "noise", "blur"],
            "names blur, noise, after which.*train.task: rating",
        ),
        ("classification", [], "empty list.*auto"),
    ],
)
def test_what_does_not_is_explained(task, wanted, message):
    with pytest.raises(UserError, match=message):
        allowed_operations(task, wanted)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 12), st.sampled_from(["rating", "classification"]))
def test_more_variants_change_no_earlier_one_and_all_differ(seed, count, task):
    names = LABEL_TRUE[task]
    chains = draw(count, seed, names=names)
    assert draw(count - 1, seed, names=names) == chains[:-1]
    images = {apply(PIXELS, chain).tobytes() for chain in chains}
    assert len(images) == count
    assert PIXELS.tobytes() not in images


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
        again = apply(PIXELS, json.loads(to_json(chain)))
        assert np.array_equal(again, apply(PIXELS, chain))


def test_too_few_different_variants_are_an_error():
    assert len(draw(1, names=["horizontal_flip"])) == 1
    with pytest.raises(UserError, match=r"only 1 different variants of image a.*asks for 2"):
        draw(2, names=["horizontal_flip"])
