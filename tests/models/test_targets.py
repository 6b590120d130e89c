import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.core.params.scale import Scale
from darkroom.labels.votes import bin_scores
from darkroom.models import targets

TEN = Scale(low=1, high=10, bins=10)
UNIT = Scale(low=0, high=1, bins=7)


def test_examples_in_the_docstrings():
    assert doctest.testmod(targets).failed == 0


@given(
    scale=st.sampled_from([TEN, UNIT, Scale(low=-5, high=-1, bins=2)]),
    places=st.lists(st.floats(0, 1), min_size=1, max_size=5),
    spread=st.one_of(st.just(float("nan")), st.floats(0, 3)),
)
def test_means_are_kept_and_rows_sum_to_one(scale, places, spread):
    means = scale.low + np.array(places) * (scale.high - scale.low)
    made = targets.from_means(means, np.full(len(means), spread), scale)
    assert (made >= 0).all()
    np.testing.assert_allclose(made.sum(axis=1), 1, atol=1e-5)
    result = made @ bin_scores(scale)
    np.testing.assert_allclose(result, means, atol=1e-5 * (scale.high - scale.low) + 1e-6)


def test_std_is_kept_in_the_middle_of_the_scale():
    made = targets.from_means(np.array([5.5]), np.array([1.5]), TEN)[0]
    scores = bin_scores(TEN)
    assert np.sqrt(made @ (scores - 5.5) ** 2) == pytest.approx(1.5, abs=0.01)


def test_higher_mean_moves_every_share_upwards():
    made = targets.from_means(np.array([4.0, 4.5]), np.array([np.nan, np.nan]), TEN)
    assert (np.cumsum(made[1])[:-1] < np.cumsum(made[0])[:-1]).all()


@pytest.mark.parametrize(
    ("means", "stds", "word"),
    [
        pytest.param([0.5], [np.nan], "train.scale", id="below the scale"),
        pytest.param([5.0, 11.0], [1, 1], r"1 of 2", id="above the scale"),
        pytest.param([np.nan], [1], "train.scale", id="no number"),
        pytest.param([5.0], [-1.0], "std", id="negative std"),
    ],
)
def test_impossible_means_are_refused(means, stds, word):
    with pytest.raises(UserError, match=word):
        targets.from_means(np.array(means), np.array(stds, float), TEN)


def test_ratings_become_shares():
    made = targets.from_ratings([[0, 2, 2], [5, 0, 0]], Scale(low=1, high=3, bins=3))
    np.testing.assert_allclose(made, [[0, 0.5, 0.5], [1, 0, 0]])


@pytest.mark.parametrize(
    ("votes", "word"),
    [
        pytest.param([0, 0, 0], "at least one", id="no votes"),
        pytest.param([1, -1, 2], "below 0", id="negative"),
        pytest.param([1, float("nan"), 2], "counts of votes", id="no number"),
        pytest.param([1, 2], "train.scale.bins", id="other number of bins"),
    ],
)
def test_impossible_ratings_are_refused(votes, word):
    with pytest.raises(UserError, match=word):
        targets.from_ratings([votes], Scale(low=1, high=3, bins=3))


def test_votes_come_before_the_mean():
    scale = Scale(low=1, high=3, bins=3)
    rows = pd.DataFrame(
        {"ratings": [np.array([0, 0, 4]), None], "mean": [1.0, 2.0], "std": [None, 0.0]}
    )
    np.testing.assert_allclose(
        targets.distributions(rows, scale), [[0, 0, 1], [0, 1, 0]], atol=5e-3
    )


def test_unknown_class_is_named():
    with pytest.raises(UserError, match="bird"):
        targets.one_hot(["cat", "bird"], ("cat", "dog"))
