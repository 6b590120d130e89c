import numpy as np
import pytest

from benchmarks import coverage
from darkroom.evaluation.metrics import BinaryScores
from darkroom.evaluation.roc import auc
from darkroom.evaluation.roc_band import sensitivity_band

MANY = np.arange(40_000)  # groups of one image each


@pytest.mark.parametrize("name", coverage.BOOTSTRAPPED)
def test_the_truth_is_what_many_images_come_to(name):
    truth, statistic = coverage.BOOTSTRAPPED[name](np.random.default_rng(5), MANY)
    assert statistic(np.ones((1, MANY.size)))[0] == pytest.approx(truth, abs=0.02)


def test_the_truth_of_a_curve_is_what_many_images_come_to():
    rng = np.random.default_rng(5)
    positive = rng.random(MANY.size) < 0.4
    score = rng.normal(size=MANY.size) + coverage.shift_of(0.8) * positive
    assert auc(positive, score) == pytest.approx(0.8, abs=0.01)
    low, high = sensitivity_band(BinaryScores(positive, score, MANY), np.array([0.1]), 0.95)
    truth, _ = coverage.band(coverage.group_codes(20), 0.8, 0.1, rng, 100)
    assert low[0] - 0.005 < truth < high[0] + 0.005


def test_both_scores_of_a_pair_have_their_auc():
    positive = MANY % 3 == 0
    one, other = coverage.two_scores(np.random.default_rng(5), positive, 0.8, 0.85)
    assert auc(positive, one) == pytest.approx(0.8, abs=0.01)
    assert auc(positive, other) == pytest.approx(0.85, abs=0.01)
    right = coverage.two_right(np.random.default_rng(5), MANY, 0.8, 0.85)
    assert [each.mean() for each in right] == pytest.approx([0.8, 0.85], abs=0.01)


def test_images_of_a_group_are_alike_and_groups_are_as_uneven_as_said():
    codes = coverage.group_codes(5000)
    drawn = coverage.effects(np.random.default_rng(5), codes).reshape(5000, -1)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(0.5, abs=0.05)
    sizes = np.bincount(coverage.group_codes(50, "uneven"))
    assert sizes.size == 50
    assert np.sort(sizes)[-5:].sum() >= sizes.sum() / 2


@pytest.mark.parametrize("name", ["mean, 20 groups", "AUC 0.80, 50 groups"])
def test_a_line_can_be_made_again(name):
    assert coverage.measure(name, 5, 50) == coverage.measure(name, 5, 50)
    assert coverage.measure(name, 5, 50) != coverage.measure(name, 6, 50)
