import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.checks.outliers import fence_scores, outlier_scores, ratio_scores

VALUES = st.lists(st.floats(1, 1e9), min_size=1, max_size=40).map(np.array)
BOTH = pytest.mark.parametrize("scores", [fence_scores, ratio_scores])


@BOTH
@given(values=VALUES, seed=st.integers(0, 99))
def test_scores_are_fractions_and_the_order_of_images_does_not_matter(scores, values, seed):
    found = scores(values)
    assert ((found >= 0) & (found <= 1)).all()
    order = np.random.default_rng(seed).permutation(len(values))
    assert np.array_equal(scores(values[order]), found[order])


@BOTH
@pytest.mark.parametrize("values", [[7.0], [7.0, 7.0], [7.0] * 9])
def test_one_image_or_equal_ones_are_not_odd(scores, values):
    assert scores(np.array(values)).tolist() == [1.0] * len(values)


@BOTH
def test_no_image_has_no_score(scores):
    assert scores(np.array([])).tolist() == []


@BOTH
def test_among_equal_images_another_one_is_odd(scores):
    found = scores(np.array([512.0] * 99 + [600.0]))
    assert (found[:99] == 1).all()
    assert found[99] < 0.5


def of_cleanvision(values, factor=3.0):
    """Return score and flag of odd_size as cleanvision 0.3.7 computes them."""
    first, third = np.percentile(values, [25, 75])
    low, high = first - factor * (third - first), third + factor * (third - first)
    middle, gap = (low + high) / 2, high - low
    scores = 1 - np.clip(np.abs(values - middle) / (gap if gap > 0 else middle), 0, 1)
    return scores, scores < (0.5 if gap > 0 else 1.0)


@given(VALUES)
def test_odd_sizes_are_those_of_cleanvision(values):
    scores, odd = of_cleanvision(values)
    found = fence_scores(values)
    clear = np.abs(scores - 0.5) > 1e-6  # rounding decides at the fence itself
    assert np.array_equal((found < 0.5)[clear], odd[clear])
    if len(set(np.percentile(values, [25, 75]))) == 2:
        assert found == pytest.approx(scores, abs=1e-6)


def test_ratios_count_not_differences():
    spread = np.array([100.0, 200, 400, 800, 1600])
    assert ratio_scores(spread) == pytest.approx(ratio_scores(spread * 1000))
    assert ratio_scores(spread) == pytest.approx(ratio_scores(spread)[::-1])


def test_half_is_a_modified_z_of_three_and_a_half():
    steps = np.array([-2.0, -1, 0, 1, 2, 3.5 * 1.4826])  # log median 0.5, median deviation 1.5
    z = np.abs(steps - 0.5) / (1.4826 * 1.5)
    assert ratio_scores(np.exp(steps)) == pytest.approx(3.5 / (3.5 + z))


def test_a_small_image_among_large_ones_is_an_odd_resolution_where_quartiles_miss_it():
    sides = [1000, 1200, 1400, 1600, 1800, 2000, 2400, 60]
    images = pd.DataFrame({"width": sides, "height": sides, "bytes": 50_000})
    found = outlier_scores(images)
    assert found["odd_size_score"].iloc[-1] > 0.5
    assert found["odd_resolution_score"].iloc[-1] < 0.5
    assert (found["odd_file_size_score"] == 1).all()
