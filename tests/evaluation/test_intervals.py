import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from darkroom.evaluation.agreement import weighted_plcc, weighted_rmse
from darkroom.evaluation.bootstrap import Resamples, bca, cluster_bootstrap, resample
from darkroom.evaluation.calibration import calibration_error, weighted_calibration_error
from darkroom.evaluation.delong import auc_interval, delong_variance
from darkroom.evaluation.intervals import Interval, proportion_interval, ratio_interval, wilson
from darkroom.evaluation.roc import auc, weighted_auc
from darkroom.evaluation.statistic import weighted_mean

RNG = np.random.default_rng(3)
levels = st.floats(0.6, 0.999)


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


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_newcombe_printed_it(successes, total, low, high):
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    found = wilson(successes, total, 0.95)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    mirrored = wilson(total - successes, total, 0.95)
    assert mirrored[:2] == pytest.approx((1 - found.high, 1 - found.low), abs=1e-12)


@given(total=st.integers(1, 500), share=st.floats(0, 1), level=levels)
def test_wilson_is_scipys_and_contains_the_share(total, share, level):
    successes = round(share * total)
    interval = wilson(successes, total, level)
    expected = stats.binomtest(successes, total).proportion_ci(level, "wilson")
    assert interval.low == pytest.approx(expected.low, abs=1e-9)
    assert interval.high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= interval.low <= successes / total <= interval.high <= 1


@given(
    success=arrays(np.bool_, 14),
    groups=arrays(np.int64, 14, elements=st.integers(0, 6)),
    level=levels,
)
def test_a_share_among_groups_is_contained_and_no_surer_than_alone(success, groups, level):
    interval = proportion_interval(success, groups, level)
    if len(set(groups)) == 1:
        assert interval.low is None
        assert "one group" in interval.note
    else:
        alone = wilson(success.sum(), success.size, level)
        assert 0 <= interval.low <= success.mean() + 1e-12
        assert success.mean() - 1e-12 <= interval.high <= 1
        assert interval.high - interval.low >= alone.high - alone.low - 1e-12


def test_copies_do_not_add_certainty():
    success, groups = RNG.random(200) < 0.7, np.arange(200)
    once = proportion_interval(success, groups, 0.95)
    thrice = proportion_interval(np.tile(success, 3), np.tile(groups, 3), 0.95)
    assert once[:2] == pytest.approx(thrice[:2], abs=0.005)


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


def test_one_large_group_makes_less_sure_than_many_equal_ones():
    even, uneven = np.repeat(np.arange(30), 10), np.repeat(np.arange(30), [155] + [5] * 29)
    values = RNG.normal(size=30)
    positive = RNG.random(300) < 0.4
    for interval_of in (
        lambda groups: proportion_interval(values[groups] < 0.3, groups, 0.95),
        lambda groups: auc_interval(positive, positive + values[groups], groups, 0.95),
        lambda groups: cluster_bootstrap(weighted_mean(values[groups]), groups, 0.95, 2000, rng()),
    ):
        narrow, wide = interval_of(even), interval_of(uneven)
        assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


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


def test_delong_and_the_bootstrap_agree():
    groups = np.repeat(np.arange(60), 5)
    positive = RNG.random(300) < 0.4
    score = positive + RNG.normal(size=60)[groups] + RNG.normal(size=300)
    drawn = cluster_bootstrap(weighted_auc(positive, score), groups, 0.95, 4000, rng())
    assert auc_interval(positive, score, groups, 0.95)[:2] == pytest.approx(drawn[:2], abs=0.012)


def test_draws_and_bca_are_scipys_on_single_images():
    """Up to the ends for few groups: seen as so many that they are the normal distribution's."""
    values = np.random.default_rng(3).exponential(size=80)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=3000, batch=3000, method="BCa",
        rng=rng(),
    )  # fmt: skip
    draws = resample(weighted_mean(values), np.arange(80), 3000, rng())
    np.testing.assert_allclose(draws.values, theirs.bootstrap_distribution, atol=1e-12)
    ends = stats.norm.ppf([0.05, 0.95]) + draws.bias
    levels = stats.norm.cdf(draws.bias + ends / (1 - draws.acceleration * ends))
    expected = tuple(theirs.confidence_interval)
    assert np.quantile(draws.values, levels) == pytest.approx(expected, abs=1e-9)
    ours = bca(draws._replace(groups=10**9, degrees_of_freedom=1e9), 0.9)
    exact = np.quantile(draws.values, levels, method="weibull")
    assert ours[:2] == pytest.approx(tuple(exact), abs=1e-6)
    assert ours[:2] == pytest.approx(expected, abs=5e-3)
    wider = cluster_bootstrap(weighted_mean(values), np.arange(80), 0.9, 3000, rng())
    assert wider.low < ours.low < ours.high < wider.high


def test_groups_are_drawn_whole():
    group_means = RNG.normal(size=40)
    values, groups = np.repeat(group_means, 5), np.repeat(np.arange(40), 5)
    clustered = cluster_bootstrap(weighted_mean(values), groups, 0.95, 4000, rng())
    of_means = cluster_bootstrap(weighted_mean(group_means), np.arange(40), 0.95, 4000, rng())
    naive = cluster_bootstrap(weighted_mean(values), np.arange(200), 0.95, 4000, rng())
    assert clustered[:2] == pytest.approx(of_means[:2], abs=1e-9)
    assert clustered.high - clustered.low > 1.8 * (naive.high - naive.low)


def contains(interval, value):
    """An interval has a width and holds the estimate, or says why there is none."""
    if interval.low is None:
        return interval.high is None and bool(interval.note)
    return interval.low <= value <= interval.high and interval.low < interval.high


@given(
    x=arrays(np.float64, 12, elements=st.floats(-1e3, 1e3)),
    y=arrays(np.float64, 12, elements=st.floats(-1e3, 1e3)),
    groups=arrays(np.int64, 12, elements=st.integers(0, 5)),
    level=levels,
)
def test_a_bootstrap_interval_contains_the_estimate_or_is_explained(x, y, groups, level):
    for statistic in (weighted_plcc(x, y), weighted_rmse(x, y), weighted_mean(x)):
        interval = cluster_bootstrap(statistic, groups, level, 100, rng())
        assert contains(interval, statistic(np.ones((1, 12)))[0])
        if interval.low is not None and statistic is weighted_plcc:
            assert -1 <= interval.low <= interval.high <= 1


@given(
    values=arrays(np.float64, 40, elements=st.integers(-9, 9).map(float)),
    estimate=st.floats(-12, 12),
    acceleration=st.floats(-1 / 6, 1 / 6),  # what any jackknife can give
    groups=st.integers(2, 30),
    degrees_of_freedom=st.floats(1, 29),
    level=levels,
)
def test_bca_contains_the_estimate_or_is_explained(
    values, estimate, acceleration, groups, degrees_of_freedom, level
):
    bias = stats.norm.ppf(np.mean(values < estimate) + np.mean(values == estimate) / 2)
    draws = Resamples(values, estimate, float(bias), acceleration, groups, degrees_of_freedom)
    interval = bca(draws, level)
    assert contains(interval, estimate)
    if interval.low is not None:
        assert values.min() <= interval.low <= interval.high <= values.max()
        wider = bca(draws, (1 + level) / 2)
        assert wider.low <= interval.low
        assert interval.high <= wider.high


def test_beyond_the_pole_of_bca_the_interval_is_as_wide_as_the_draws():
    """The sample's RMSE from 7 to 10, of four groups, had 1.886 to 1.886 around 1.612."""
    values = np.sort(np.random.default_rng(3).normal(1.6, 0.2, 2000))
    draws = Resamples(values, 1.6118, -0.0094, -0.09428795, 4, 1.02126)
    assert bca(draws, 0.95)[:2] == (values[0], values[-1])
    assert bca(draws._replace(acceleration=0.09428795), 0.95)[:2] == (values[0], values[-1])


def test_an_estimate_at_the_edge_of_its_draws_is_doubted_or_has_no_interval():
    """Resamples of a calibrated model are all worse calibrated than it is."""
    doubted = refused = 0
    for seed in range(12):
        draw = np.random.default_rng(seed)
        chance = draw.random(400)
        right = draw.random(400) < chance
        statistic = weighted_calibration_error(chance, right)
        interval = cluster_bootstrap(statistic, np.arange(400), 0.95, 300, draw)
        assert contains(interval, calibration_error(chance, right))
        refused += interval.low is None
        doubted += interval.low is not None and "to one side" in (interval.note or "")
    assert refused
    assert doubted


def test_draws_that_nearly_all_agree_have_no_interval():
    draws = Resamples(np.append(np.zeros(199), 1.0), 0.0, 0.0, 0.0, 40, 39.0)
    assert bca(draws, 0.95).note == "no spread: nearly every draw gives the same value"


def test_names_of_groups_and_order_of_images_do_not_matter():
    values, groups = RNG.normal(size=60), np.arange(60) % 12
    names = np.array([f"photograph {g:02d}" for g in groups], object)
    numbered = cluster_bootstrap(weighted_mean(values), groups, 0.95, 300, rng())
    assert numbered == cluster_bootstrap(weighted_mean(values), names, 0.95, 300, rng())
    order = RNG.permutation(60)
    shuffled = cluster_bootstrap(weighted_mean(values[order]), groups[order], 0.95, 300, rng())
    assert shuffled[:2] == pytest.approx(numbered[:2], abs=1e-12)


@given(hits=st.integers(0, 30), misses=st.integers(0, 30), total=st.integers(30, 60), level=levels)
def test_a_ratio_is_contained(hits, misses, total, level):
    top, bottom = hits / total, misses / total
    low, high = ratio_interval(
        (top, wilson(hits, total, level)), (bottom, wilson(misses, total, level))
    )
    assert 0 <= low <= high
    if bottom:
        assert low <= top / bottom + 1e-9
        assert top / bottom <= high + 1e-9
    else:
        assert high == np.inf


def test_a_ratio_as_published():
    """Perondi et al. 2004: Fagerland, Lydersen and Laake's R package contingencytables."""
    found = ratio_interval((7 / 34, wilson(7, 34, 0.95)), (1 / 34, wilson(1, 34, 0.95)))
    assert [round(end, 4) for end in found] == [1.1537, 41.9763]


def test_a_ratio_needs_bounds():
    with pytest.raises(ValueError, match="two intervals"):
        ratio_interval((0.5, Interval(None, None, "none")), (0.5, wilson(1, 2, 0.95)))


def test_a_spread_that_is_next_to_nothing_has_an_interval():
    """Squares of squares of 1e-86 are nothing; twelve values of 0 and one such were an error."""
    groups = np.append(np.arange(4), np.full(9, 3))
    for tiny in (1e-50, 1e-86, 1e-120, 1e-150, 1e-200, 5e-324):
        values = np.append(tiny, np.zeros(12))
        assert contains(
            cluster_bootstrap(weighted_mean(values), groups, 0.95, 100, rng()), tiny / 13
        )
        statistic = weighted_rmse(np.zeros(13), values)
        assert contains(cluster_bootstrap(statistic, groups, 0.95, 100, rng()), tiny / np.sqrt(13))
