import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from darkroom.evaluation.intervals import (
    Interval,
    mean_interval,
    proportion_interval,
    ratio_interval,
    wilson,
)
from tests.evaluation.samples import SEEDS, exactly

RNG = np.random.default_rng(3)
levels = st.floats(0.6, 0.999)
RNG = np.random.default_rng(5)


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


@SEEDS
def test_a_wilson_interval(seed):
    rng = np.random.default_rng(seed)
    total = int(rng.integers(1, 500))
    hits, level = int(rng.integers(0, total + 1)), float(rng.uniform(0.6, 0.999))
    expected = stats.binomtest(hits, total).proportion_ci(level, "wilson")
    assert wilson(hits, total, level)[:2] == exactly(tuple(expected))


def test_the_interval_of_a_mean_is_scipys_on_single_images():
    values = RNG.normal(size=25)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, np.arange(25), 0.9)[:2] == pytest.approx(tuple(expected), abs=1e-9)


def test_copies_add_no_certainty_to_a_mean():
    values = RNG.normal(size=25)
    once = mean_interval(values, np.arange(25), 0.95)
    thrice = mean_interval(np.tile(values, 3), np.tile(np.arange(25), 3), 0.95)
    assert once[:2] == pytest.approx(thrice[:2], abs=1e-9)
    assert mean_interval(values, np.zeros(25), 0.95).low is None


@pytest.mark.parametrize("count", [2, 3, 7, 30])
def test_values_that_are_all_alike_leave_no_mean_certain(count):
    equal = np.full(count, 6.3), np.arange(count)
    grouped = np.tile([0.1, 0.3, 0.8], count), np.repeat(np.arange(count), 3)
    for values, groups in (equal, grouped):
        interval = mean_interval(values, groups, 0.95)
        assert (interval.low, interval.high) == (None, None)
        assert "all alike" in interval.note
