import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from darkroom.evaluation.agreement import weighted_plcc, weighted_rmse
from darkroom.evaluation.bootstrap import Resamples, bca, cluster_bootstrap, resample
from darkroom.evaluation.calibration import weighted_calibration_error
from darkroom.evaluation.delong import auc_interval
from darkroom.evaluation.intervals import proportion_interval
from darkroom.evaluation.roc import weighted_auc
from darkroom.evaluation.statistic import unweighted, weighted_mean

RNG = np.random.default_rng(3)
levels = st.floats(0.6, 0.999)


def rng():
    return np.random.default_rng(7)


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
        assert contains(interval, unweighted(statistic, right.size))
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
