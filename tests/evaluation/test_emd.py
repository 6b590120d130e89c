import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.stats import wasserstein_distance

from darkroom.evaluation.emd import emd_r1, emd_r2
from tests.evaluation.samples import (
    SEEDS,
)

BINS = 5
votes = arrays(np.int64, (3, BINS), elements=st.integers(0, 40)).map(
    lambda v: v + (v.sum(1) == 0)[:, None]
)
histograms = votes.map(lambda v: v / v.sum(axis=1, keepdims=True))
both = pytest.mark.parametrize("distance", [emd_r1, emd_r2])


@pytest.mark.parametrize(
    ("target", "predicted", "r1", "r2"),
    [
        pytest.param([1, 0, 0, 0, 0], [0, 0, 0, 0, 1], 0.8, 0.8**0.5, id="opposite ends"),
        pytest.param([1, 0, 0, 0, 0], [0, 1, 0, 0, 0], 0.2, 0.2**0.5, id="one bin apart"),
        pytest.param([0.5, 0.5, 0, 0, 0], [0, 1, 0, 0, 0], 0.1, 0.05**0.5, id="half of it"),
    ],
)
def test_known_answers(target, predicted, r1, r2):
    pair = np.array([target], float), np.array([predicted], float)
    assert emd_r1(*pair)[0] == pytest.approx(r1, abs=1e-12)
    assert emd_r2(*pair)[0] == pytest.approx(r2, abs=1e-12)


@both
@given(a=histograms, b=histograms)
def test_it_is_a_distance(distance, a, b):
    assert (distance(a, a) == 0).all()
    assert (distance(a, b) == distance(b, a)).all()
    assert (distance(a, b) >= 0).all()
    assert (distance(a, b) <= 1).all()


@given(a=histograms, b=histograms)
def test_r1_is_the_wasserstein_distance_in_bins(a, b):
    bins = np.arange(BINS)
    expected = [wasserstein_distance(bins, bins, p, q) for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(BINS * emd_r1(a, b), expected, atol=1e-9)


@both
def test_unequal_bins_are_refused(distance):
    with pytest.raises(ValueError, match=r"expected equal shapes"):
        distance(np.ones((1, 5)), np.ones((1, 1)))


@SEEDS
def test_distances_of_histograms(seed):
    rng = np.random.default_rng(seed)
    bins = int(rng.integers(2, 12))
    one, other = (rng.dirichlet(np.full(bins, 0.5), 40) for _ in range(2))
    grid = np.arange(bins)
    pairs_of = list(zip(one, other, strict=True))
    expected = [stats.wasserstein_distance(grid, grid, p, q) for p, q in pairs_of]
    np.testing.assert_allclose(bins * emd_r1(one, other), expected, rtol=0, atol=1e-9)
    # SciPy's energy distance is the root of twice the integral of the squared difference
    energy = [stats.energy_distance(grid, grid, p, q) for p, q in pairs_of]
    found = np.sqrt(2 * bins) * emd_r2(one, other)
    np.testing.assert_allclose(found, energy, rtol=0, atol=1e-9)
