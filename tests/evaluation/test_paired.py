import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from darkroom.evaluation.agreement import weighted_srcc
from darkroom.evaluation.paired import (
    accuracy_difference_interval,
    delong_interval,
    delong_test,
    holm,
    mcnemar,
    paired_bootstrap,
)
from darkroom.evaluation.roc import auc, weighted_auc
from darkroom.evaluation.statistic import weighted_mean

# DeLong, DeLong and Clarke-Pearson 1988: 43 patients with albumin, total protein, K-G score and
# whether surgery helped. From the example "Comparing Receiver Operating Characteristic Curves" of
# the SAS/STAT User's Guide, PROC LOGISTIC, which analyses them with the paper's method.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3  5 1  3.9 6.8  3 1  2.8 4.8  6 0  3.2 5.8  3 1  0.9 4.0  5 0
2.5 5.7  8 0  1.6 5.6  5 1  3.8 5.7  5 1  3.7 6.7  6 1  3.2 5.4  4 1  3.8 6.6  6 1
4.1 6.6  5 1  3.6 5.7  5 1  4.3 7.0  4 1  3.6 6.7  4 0  2.3 4.4  6 1  4.2 7.6  4 0
4.0 6.6  6 0  3.5 5.8  6 1  3.8 6.8  7 1  3.0 4.7  8 0  4.5 7.4  5 1  3.7 7.4  5 1
3.1 6.6  6 1  4.1 8.2  6 1  4.3 7.0  5 1  4.3 6.5  4 1  3.2 5.1  5 1  2.6 4.7  6 1
3.3 6.8  6 0  1.7 4.0  7 0  3.7 6.1  5 1  3.3 6.3  7 1  4.2 7.7  6 1  3.5 6.2  5 1
2.9 5.7  9 0  2.1 4.8  7 1  2.8 6.2  8 0  4.0 7.0  7 1  3.3 5.7  6 1  3.7 6.9  5 1
3.6 6.6  5 1
"""
levels = st.floats(0.6, 0.999)
flags = arrays(np.bool_, 16)
scores = arrays(np.float64, 16, elements=st.integers(0, 9).map(float))
REALS = np.random.default_rng(5)


def rng():
    return np.random.default_rng(7)


def direct_delong(positive, score_a, score_b):
    """DeLong's difference and its variance from the covariance matrix, pair by pair."""
    above, below = [], []
    for score in (score_a, score_b):
        up, down = score[positive][:, None], score[~positive][None]
        kernel = (up > down) + (up == down) / 2  # (positives, negatives)
        above.append(kernel.mean(axis=1))
        below.append(kernel.mean(axis=0))
    covariance = np.cov(above) / len(above[0]) + np.cov(below) / len(below[0])
    contrast = np.array([-1.0, 1.0])
    return np.mean(above[1]) - np.mean(above[0]), contrast @ covariance @ contrast


@pytest.mark.parametrize(
    ("test", "difference", "low", "high", "p"),
    [(0, 0.0108, -0.1761, 0.1976, 0.9102), (1, -0.0780, -0.2830, 0.1271, 0.4561)],
    ids=["albumin", "total protein"],
)
def test_the_example_of_delongs_paper(test, difference, low, high, p):
    rows = np.array(OVARIAN.split(), np.float64).reshape(-1, 4)
    score, kg, positive = rows[:, test], 10 - rows[:, 2], rows[:, 3] == 1
    assert auc(positive, score) - auc(positive, kg) == pytest.approx(difference, abs=5e-5)
    assert delong_interval(positive, kg, score, 0.95)[:2] == pytest.approx((low, high), abs=5e-5)
    assert delong_test(positive, kg, score) == pytest.approx(p, abs=5e-5)


@given(positive=flags, a=scores, b=scores, level=levels)
def test_paired_delong_is_the_direct_computation(positive, a, b, level):
    assume(2 <= positive.sum() <= 14)
    difference, variance = direct_delong(positive, a, b)
    interval, p = delong_interval(positive, a, b, level), delong_test(positive, a, b)
    assume(variance > 1e-12)
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
    assert interval.low == pytest.approx(max(-1, difference - reach), abs=1e-9)
    assert interval.high == pytest.approx(min(1, difference + reach), abs=1e-9)
    assert p == pytest.approx(2 * stats.norm.cdf(-abs(difference) / np.sqrt(variance)), abs=1e-9)


@given(positive=flags, a=scores, b=scores, level=levels)
def test_swapping_the_models_mirrors_delong(positive, a, b, level):
    there, back = delong_interval(positive, a, b, level), delong_interval(positive, b, a, level)
    assert delong_test(positive, a, b) == pytest.approx(delong_test(positive, b, a), abs=1e-12)
    if there.low is None:
        assert back.low is None
    else:
        assert there[:2] == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_delong_sees_no_difference_between_a_model_and_itself():
    positive, score = REALS.random(40) < 0.5, REALS.random(40)
    assert delong_test(positive, score, 10 * score) == 1  # its ranks are the same
    assert delong_interval(positive, score, score, 0.95).note.startswith("no spread")


def test_delong_needs_two_images_of_each_class():
    positive = np.arange(9) < 1
    assert delong_test(positive, REALS.random(9), REALS.random(9)) is None
    interval = delong_interval(positive, REALS.random(9), REALS.random(9), 0.95)
    assert (interval.low, interval.note) == (None, "fewer than two images of one class")


def test_a_perfect_model_that_became_constant_is_found_although_nothing_varies():
    positive = np.arange(30) < 10
    perfect, constant = positive.astype(float), np.zeros(30)
    assert delong_test(positive, perfect, constant) == 2.0**-9
    statistics = weighted_auc(positive, perfect), weighted_auc(positive, constant)
    interval, p = paired_bootstrap(*statistics, np.arange(30) // 2, 0.95, 200, rng())
    assert interval.note == "no spread: every draw gives the same value"
    assert p == 2.0**-14


@settings(max_examples=30)
@given(
    a=arrays(np.float64, 24, elements=st.floats(-1, 1, width=16)),
    b=arrays(np.float64, 24, elements=st.floats(-1, 1, width=16)),
    groups=arrays(np.int64, 24, elements=st.integers(0, 9)),
)
def test_swapping_the_models_mirrors_the_bootstrap(a, b, groups):
    target = np.arange(24.0)
    for make in (weighted_mean, lambda score: weighted_srcc(target, score)):
        there, p = paired_bootstrap(make(a), make(b), groups, 0.95, 200, rng())
        back, q = paired_bootstrap(make(b), make(a), groups, 0.95, 200, rng())
        assert p == pytest.approx(q, abs=1e-9) if p is not None else q is None
        if there.low is None:
            assert back.low is None
        else:
            assert there[:2] == pytest.approx((-back.high, -back.low), abs=1e-9)


@pytest.mark.parametrize("shift", [-0.3, -0.05, 0.0, 0.02, 0.1])
@pytest.mark.parametrize("count", [8, 40, 200])
def test_the_p_value_is_where_the_interval_reaches_zero(shift, count):
    groups = np.arange(count * 3) // 3
    noise = np.random.default_rng(count).exponential(size=count)[groups]
    a, b = np.zeros(groups.size), noise - noise.mean() + shift
    _, p = paired_bootstrap(weighted_mean(a), weighted_mean(b), groups, 0.95, 2000, rng())
    assert 0 < p <= 1
    if not 0.01 < p < 0.5:
        return  # beyond what 2,000 draws resolve, or what params.yaml allows
    for step, excluded in ((-0.005, False), (0.005, True)):
        level = 1 - p - step
        if 0.001 < level < 0.999:
            low, high, *_ = paired_bootstrap(
                weighted_mean(a), weighted_mean(b), groups, 1 - p - step, 2000, rng()
            )[0]
            assert (low > 0 or high < 0) == excluded


@settings(max_examples=60)
@given(
    effect=arrays(np.float64, 7, elements=st.floats(-1, 3, width=16)),
    count=st.integers(2, 7),
    level=st.floats(0.8, 0.99),
)
def test_of_few_groups_too_no_difference_is_called_that_the_interval_does_not_show(
    effect, count, level
):
    codes = np.arange(28) % count
    b = effect[codes] + np.where(codes == 0, 4 * effect[codes], 0)
    zero = weighted_mean(np.zeros(28))
    interval, p = paired_bootstrap(zero, weighted_mean(b), codes, level, 400, rng())
    if interval.low is None:
        assert interval.note
        return
    assert interval.low <= b.mean() <= interval.high
    if p <= 1 - level - 0.03:  # a draw more or less
        assert interval.low > 0 or interval.high < 0


def test_the_p_value_of_no_difference_is_uniform():
    ps = []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        groups = np.repeat(np.arange(40), 2)
        effect = draw.normal(size=40)[groups] + draw.normal(size=80)
        none = weighted_mean(np.zeros(80))
        ps.append(paired_bootstrap(none, weighted_mean(effect), groups, 0.95, 300, draw)[1])
    assert stats.kstest(ps, "uniform").pvalue > 0.01


def test_the_same_model_has_no_difference_and_p_1():
    score, target = REALS.random(30), REALS.random(30)
    statistic = weighted_srcc(target, score)
    interval, p = paired_bootstrap(statistic, statistic, np.arange(30) // 3, 0.95, 200, rng())
    assert (interval.low, p) == (None, 1)


def test_one_group_gives_neither_interval_nor_p_value():
    statistics = weighted_mean(REALS.random(9)), weighted_mean(REALS.random(9))
    interval, p = paired_bootstrap(*statistics, np.zeros(9), 0.95, 200, rng())
    assert "one group" in interval.note
    assert p is None


@given(a=arrays(np.bool_, 40), b=arrays(np.bool_, 40))
def test_mcnemar_is_scipys_binomial_test(a, b):
    only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
    p = mcnemar(a, b)
    assert p == mcnemar(b, a)
    if only_a + only_b:
        assert p == stats.binomtest(only_a, only_a + only_b, 0.5).pvalue
    else:
        assert p == 1


def test_mcnemar_of_a_worked_example():
    """Of the 12 images that the models disagree on, b is right on 10: 2 (1 + 12 + 66) / 4096."""
    a, b = np.array([True] * 2 + [False] * 10 + [True] * 30), np.ones(42, bool)
    b[:2] = False
    assert mcnemar(a, b) == pytest.approx(158 / 4096, abs=1e-12)


@given(a=flags, b=flags, level=levels)
def test_the_interval_of_accuracies_is_ordered_and_mirrors(a, b, level):
    low, high, *_ = accuracy_difference_interval(a, b, level)
    back = accuracy_difference_interval(b, a, level)
    assert -1 <= low <= b.mean() - a.mean() <= high <= 1
    assert low < high
    assert (low, high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_bonett_and_prices_interval_by_hand():
    """40 images, 8 won and 2 lost: shares 9/42 and 3/42, difference 6/42."""
    a = np.array([False] * 8 + [True] * 2 + [True] * 30)
    b = np.array([True] * 8 + [False] * 2 + [True] * 30)
    reach = 1.959964 * np.sqrt((12 / 42 - (6 / 42) ** 2) / 42)
    expected = 6 / 42 - reach, 6 / 42 + reach
    assert accuracy_difference_interval(a, b, 0.95)[:2] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("given_ps", "adjusted"),
    [
        # R: p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm") and Holm's steps by hand
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.04, 0.001, 0.5, 0.02], [0.08, 0.004, 0.5, 0.06]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm_of_worked_examples(given_ps, adjusted):
    assert holm(given_ps) == pytest.approx(adjusted, abs=1e-12)


@given(ps=st.lists(st.floats(0, 1), max_size=9))
def test_holm_never_lowers_and_keeps_the_order(ps):
    adjusted = holm(ps)
    assert all(p <= q <= min(1, len(ps) * p) + 1e-12 for p, q in zip(ps, adjusted, strict=True))
    assert sorted(adjusted) == [adjusted[k] for k in np.argsort(ps, kind="stable")]
