import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics
from sklearn.metrics import roc_auc_score

from darkroom.evaluation import roc
from darkroom.evaluation.roc import auc, has_both_classes, roc_curve, weighted_auc
from darkroom.evaluation.statistic import ranks, unweighted
from tests.evaluation.samples import (
    SEEDS,
    exactly,
    flags_and_scores,
    weights_of,
)

flags = arrays(np.bool_, 12)
scores = arrays(np.float64, 12, elements=st.integers(0, 5).map(float))


@given(positive=flags, score=scores, weights=arrays(np.int64, 12, elements=st.integers(0, 3)))
def test_a_weight_counts_an_image_so_often(positive, score, weights):
    drawn = np.repeat(positive, weights), np.repeat(score, weights)
    found = weighted_auc(positive, score)(weights[None].astype(float))[0]
    if has_both_classes(drawn[0]):
        assert found == pytest.approx(roc_auc_score(*drawn), abs=1e-9)
        assert auc(*drawn) == pytest.approx(roc_auc_score(*drawn), abs=1e-9)
    else:
        assert np.isnan(found)
        assert auc(*drawn) is None


@given(positive=flags, score=scores)
def test_the_other_way_round_it_is_the_rest(positive, score):
    if has_both_classes(positive):
        assert auc(~positive, score) == pytest.approx(1 - auc(positive, score), abs=1e-12)
        assert auc(positive, -score) == pytest.approx(1 - auc(positive, score), abs=1e-12)


def test_the_curve_goes_from_corner_to_corner():
    curve = roc_curve(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.5, 0.9]))
    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)
    assert roc_curve(np.array([True]), np.array([0.5])) is None


@SEEDS
def test_auc_and_partial_auc(seed):
    positive, score = flags_and_scores(seed)
    assert roc.auc(positive, score) == exactly(metrics.roc_auc_score(positive, score))
    weights, drawn = weights_of(seed, score.size)
    again = positive[drawn], score[drawn]
    for below in (0.05, 0.1, 0.33, 1.0):
        expected = metrics.roc_auc_score(positive, score, max_fpr=below)
        statistic = roc.weighted_partial_auc(positive, score, below)
        assert unweighted(statistic, score.size) == exactly(expected)
        if roc.has_both_classes(again[0]):
            found = roc.weighted_partial_auc(positive, score, below)(weights)[0]
            assert found == exactly(metrics.roc_auc_score(*again, max_fpr=below))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40))
def test_the_curve_and_the_ranks_are_those_of_scikit_learn_and_scipy(images):
    positive, score = (np.array(column) for column in zip(*images, strict=True))
    np.testing.assert_array_equal(ranks(score), stats.rankdata(score))
    if positive.any() and not positive.all():
        expected = metrics.roc_curve(positive, score.astype(float))
        for got, wanted in zip(roc_curve(positive, score), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
