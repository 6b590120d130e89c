import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from darkroom.report import eigenimages
from tests.harness import REPOSITORY

PATTERN = np.zeros((8, 8, 3))
PATTERN[:, :4] = 1  # the left half


def squares(amounts, noise=0.0):
    rng = np.random.default_rng(1)
    images = [100 + 20 * a * PATTERN + rng.normal(0, noise, PATTERN.shape) for a in amounts]
    return np.array(images).round().clip(0, 255).astype(np.uint8)


def test_components_and_shares_are_those_of_scikit_learn():
    rows = np.random.default_rng(0).normal(size=(20, 50)) * np.arange(50)
    mean, found = eigenimages.principal_components(rows)
    known = PCA(eigenimages.COMPONENTS).fit(rows)
    assert mean == pytest.approx(known.mean_)
    for (direction, share), theirs, ratio in zip(
        found, known.components_, known.explained_variance_ratio_, strict=True
    ):
        assert share == pytest.approx(ratio)
        assert abs(direction @ theirs) == pytest.approx(1)


def test_one_thing_that_differs_is_the_whole_of_the_variance():
    made = eigenimages.describe(squares([0, 1, 2, 3]))
    assert made.images == 4
    assert [component.share for component in made.components] == pytest.approx([1.0])


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30))
def test_of_a_direction_and_its_opposite_one_is_chosen(values):
    direction = np.array(values)
    chosen = eigenimages.fix_sign(direction)
    assert np.array_equal(np.abs(chosen), np.abs(direction))
    if abs(direction.sum()) > 1e-3:
        assert np.array_equal(chosen, eigenimages.fix_sign(-direction))
        assert chosen.sum() > 0


def test_grey_is_no_change_and_the_strongest_change_reaches_the_end():
    assert eigenimages.to_levels(np.array([0, -2.0, 1, 2])).tolist() == [128, 1, 192, 255]
    assert eigenimages.to_levels(np.zeros(2)).tolist() == [128, 128]


@pytest.mark.parametrize(("images", "mean"), [(0, False), (2, False), (3, True)])
def test_fewer_than_three_images_have_no_mean(images, mean):
    made = eigenimages.describe(squares([1.0] * images).reshape(-1, 8, 8, 3))
    assert (made.mean is not None) == mean
    assert made.components == ()


def test_the_number_of_threads_changes_no_byte():
    code = (
        "import hashlib, numpy as np\n"
        "from darkroom.report.eigenimages import describe\n"
        "rng = np.random.default_rng(3)\n"
        "made = describe(rng.integers(0, 255, (150, 64, 64, 3)).astype(np.uint8))\n"
        "print(hashlib.sha256(repr(made).encode()).hexdigest())\n"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    ]  # fmt: skip
    assert digests[0] == digests[1]
