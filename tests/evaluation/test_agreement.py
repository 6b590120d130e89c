import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics
from sklearn.metrics import root_mean_squared_error

from darkroom.evaluation import agreement
from tests.evaluation.samples import SEEDS, exactly, pairs

scores = arrays(np.float64, 12, elements=st.integers(0, 6).map(float))
counts = arrays(np.int64, 12, elements=st.integers(0, 3))
PAIRS = [
    pytest.param(agreement.plcc, agreement.weighted_plcc, id="plcc"),
    pytest.param(agreement.srcc, agreement.weighted_srcc, id="srcc"),
    pytest.param(agreement.rmse, agreement.weighted_rmse, id="rmse"),
]


def test_as_scipy_and_scikit_learn_have_it():
    rng = np.random.default_rng(1)
    x = rng.normal(size=300).round(1)
    y = x + rng.normal(size=300).round(1)
    assert agreement.srcc(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    assert agreement.plcc(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert agreement.rmse(x, y) == pytest.approx(root_mean_squared_error(x, y), abs=1e-9)


@pytest.mark.parametrize("function", [agreement.plcc, agreement.srcc])
@pytest.mark.parametrize("values", [[], [1.0], [0.1] * 9], ids=["none", "one", "constant"])
def test_no_variation_no_correlation(function, values):
    other = np.arange(len(values), dtype=float)
    assert function(np.array(values), other) is None
    assert function(other, np.array(values)) is None


@pytest.mark.parametrize(("plain", "weighted"), PAIRS)
@given(x=scores, y=scores, weights=counts)
def test_a_weight_counts_an_image_so_often(plain, weighted, x, y, weights):
    if not weights.sum():
        weights = weights + 1
    expected = plain(np.repeat(x, weights), np.repeat(y, weights))
    found = weighted(x, y)(weights[None].astype(float))[0]
    assert np.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-9)


def test_each_resample_has_its_own_value():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    weights = np.array([[1, 1, 1, 1], [2, 0, 0, 2], [4, 0, 0, 0]], float)
    found = agreement.weighted_srcc(x, x[::-1])(weights)
    np.testing.assert_allclose(found, [-1, -1, np.nan])


@SEEDS
def test_correlations_and_errors(seed):
    x, y = pairs(seed)
    assert agreement.srcc(x, y) == exactly(stats.spearmanr(x, y).statistic)
    assert agreement.plcc(x, y) == exactly(stats.pearsonr(x, y).statistic)
    assert agreement.rmse(x, y) == exactly(metrics.root_mean_squared_error(x, y))
