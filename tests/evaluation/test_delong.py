import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from darkroom.evaluation.delong import auc_interval, delong_variance
from darkroom.evaluation.roc import auc

RNG = np.random.default_rng(3)


def rng():
    return np.random.default_rng(7)


def slow_delong_variance(positive, score, groups):
    """Obuchowski's equations, pair by pair; DeLong's 4 to 7 where each image is a group."""
    kernel = np.sign(score[:, None] - score[None]) / 2 + 0.5  # (n, n)
    m, n, names = positive.sum(), (~positive).sum(), np.unique(groups)
    area = kernel[positive][:, ~positive].mean()
    above = np.array([
        sum(kernel[j, ~positive].mean() - area for j in np.flatnonzero(positive & (groups == g)))
        for g in names
    ])  # fmt: skip
    below = np.array([
        sum(kernel[positive, k].mean() - area for k in np.flatnonzero(~positive & (groups == g)))
        for g in names
    ])  # fmt: skip
    i10, i01, i = len(set(groups[positive])), len(set(groups[~positive])), len(names)
    s10, s01 = i10 / ((i10 - 1) * m) * (above @ above), i01 / ((i01 - 1) * n) * (below @ below)
    s11 = i / (i - 1) * (above @ below)
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@given(
    positive=arrays(np.bool_, 15),
    score=arrays(np.float64, 15, elements=st.integers(0, 9).map(float)),
    groups=st.one_of(st.just(np.arange(15)), arrays(np.int64, 15, elements=st.integers(0, 6))),
)
def test_delong_is_the_slow_sum_and_contains_the_auc(positive, score, groups):
    if min(len(set(groups[positive])), len(set(groups[~positive]))) >= 2:
        slow = slow_delong_variance(positive, score, groups)
        variance, degrees_of_freedom = delong_variance(positive, score, groups)
        assert variance == pytest.approx(slow, abs=1e-12)
        assert 1 <= degrees_of_freedom + 1e-9 <= len(set(groups))
    interval = auc_interval(positive, score, groups, 0.95)
    value = auc(positive, score)
    if interval.low is None:
        assert interval.note
    else:
        assert 0 <= interval.low <= value <= interval.high <= 1


def test_delong_as_stata_printed_it():
    """Hanley and McNeil's 109 CT images in five ratings: Stata's manual, roctab, example 1."""
    score = np.repeat([*range(5), *range(5)], [33, 6, 6, 11, 2, 3, 2, 2, 11, 33]).astype(float)
    positive = np.arange(109) >= 58
    variance, _ = delong_variance(positive, score, np.arange(109))
    value, error = auc(positive, score), np.sqrt(variance)
    assert (round(value, 4), round(error, 4)) == (0.8932, 0.0307)
    ends = value + stats.norm.ppf([0.025, 0.975]) * error
    assert ends.round(5).tolist() == [0.83295, 0.95339]


def test_an_auc_is_the_same_under_any_order_name_or_rising_scale():
    positive, groups = RNG.random(90) < 0.4, np.arange(90) // 3
    score = positive + RNG.normal(size=90)
    expected = auc_interval(positive, score, groups, 0.95)
    order = RNG.permutation(90)
    shuffled = auc_interval(positive[order], score[order], groups[order], 0.95)
    assert shuffled[:2] == pytest.approx(expected[:2], abs=1e-12)
    names = np.array([f"object {97 * g % 31}" for g in groups])
    assert auc_interval(positive, np.exp(score), names, 0.95)[:2] == pytest.approx(expected[:2])
    mirrored = auc_interval(~positive, score, groups, 0.95)
    assert mirrored[:2] == pytest.approx((1 - expected.high, 1 - expected.low), abs=1e-12)


@pytest.mark.parametrize(
    ("positive", "score", "groups", "note"),
    [
        pytest.param([1, 1, 1], [1, 2, 3], [1, 2, 3], "one class", id="one class"),
        pytest.param([1, 0, 0], [2, 1, 3], [1, 2, 3], "fewer than two images", id="one positive"),
        pytest.param(
            [1, 1, 0, 0], [2, 1, 3, 0], [1, 1, 2, 3], "fewer than two groups", id="one group of it"
        ),
        pytest.param([1, 0, 1, 0], [5] * 4, [1, 2, 3, 4], "constant", id="constant predictions"),
        pytest.param([], [], [], "one class", id="nothing"),
    ],
)
def test_an_auc_without_interval_says_why(positive, score, groups, note):
    interval = auc_interval(
        np.array(positive, bool), np.array(score, float), np.array(groups), 0.95
    )
    assert (interval.low, interval.high) == (None, None)
    assert note in interval.note


def test_groups_that_are_all_alike_leave_no_auc_certain():
    positive, score = np.array([1, 0, 1, 0, 0, 1, 0], bool), np.array([3, 1, 2, 2, 5, 4, 0]) / 7
    for count in range(2, 40):
        groups = np.repeat(np.arange(count), 7)
        interval = auc_interval(np.tile(positive, count), np.tile(score, count), groups, 0.95)
        assert (interval.low, interval.high) == (None, None)
        assert "all alike" in interval.note


@pytest.mark.parametrize("right", [True, False], ids=["perfect", "reversed"])
def test_a_perfect_auc_is_not_certain(right):
    positive = np.arange(30) >= 20
    score = np.arange(30.0) * (1 if right else -1)
    interval = auc_interval(positive, score, np.arange(30), 0.95)
    assert interval[:2] == pytest.approx((0.722, 1) if right else (0, 0.278), abs=1e-3)
    grouped = auc_interval(positive, score, np.arange(30) // 2, 0.95)
    assert grouped.high - grouped.low > interval.high - interval.low


@pytest.mark.parametrize(
    ("positives", "noise", "note"),
    [
        pytest.param(40, 0.6, None, id="enough"),
        pytest.param(9, 0.6, "9 independent", id="few positives"),
        pytest.param(40, 0.27, "end of its scale", id="nearly perfect"),
    ],
)
def test_an_auc_with_a_doubtful_interval_says_so(positives, noise, note):
    positive = np.arange(100) < positives
    score = positive + noise * rng().normal(size=100)
    interval = auc_interval(positive, score, np.arange(100), 0.95)
    assert interval.low < auc(positive, score) < interval.high
    assert interval.note is None if note is None else note in interval.note


def test_copies_of_images_do_not_add_certainty_to_an_auc():
    positive = RNG.random(400) < 0.4
    score, images = positive + RNG.normal(size=400), np.arange(400)
    once = auc_interval(positive, score, images, 0.95)
    twice = auc_interval(*(np.tile(each, 2) for each in (positive, score, images)), 0.95)
    assert once.method == "DeLong, logit"
    assert twice.method == "DeLong for clusters (Obuchowski), logit"
    assert twice[:2] == pytest.approx(once[:2], abs=1e-12)
