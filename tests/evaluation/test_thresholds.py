import numpy as np
import pytest
from sklearn import metrics

from darkroom.evaluation import thresholds
from darkroom.evaluation.thresholds import youden
from tests.evaluation.samples import (
    SEEDS,
    exactly,
    flags_and_scores,
)


@SEEDS
def test_thresholds_by_trying_each(seed):
    positive, score = flags_and_scores(seed)
    tried = np.append(np.unique(score), np.nextafter(score.max(), np.inf))[::-1]
    called = score >= tried[:, None]
    hit, left = called[:, positive].mean(axis=1), 1 - called[:, ~positive].mean(axis=1)
    index = metrics.balanced_accuracy_score  # 2 · balanced accuracy − 1 is Youden's index
    gains = np.array([2 * index(positive, score >= t) - 1 for t in tried])

    def gain(threshold):
        return 0 if threshold is None else gains[tried == threshold][0]

    assert gain(thresholds.youden(positive, score)) == exactly(max(gains.max(), 0))
    corner = thresholds.closest_to_corner(positive, score)
    distance = np.hypot(1 - hit, 1 - left)
    if corner is not None:
        assert distance[tried == corner][0] == exactly(distance.min())
    for least in (0.5, 0.9, 0.99):
        expected = tried[left >= least - 1e-9].min()
        assert thresholds.at_specificity(positive, score, least) == expected
    for prevalence in (0.01, 0.5):
        cost = 5 * prevalence * (1 - hit) + 2 * (1 - prevalence) * (1 - left)
        best = thresholds.least_cost(positive, score, 2, 5, prevalence)
        assert cost[tried == best][0] == exactly(cost.min())


@pytest.mark.parametrize(
    ("positive", "score", "threshold"),
    [
        pytest.param([0, 0, 1, 1], [1, 2, 3, 4], 3, id="separated"),
        pytest.param([0, 1, 0, 1], [1, 2, 3, 4], 4, id="equal gains: the higher one"),
        pytest.param([1, 1, 0, 0], [1, 2, 3, 4], None, id="worse than chance"),
        pytest.param([0, 1, 0, 1], [2, 2, 2, 2], None, id="constant"),
        pytest.param([1, 1, 1, 1], [1, 2, 3, 4], None, id="one class"),
    ],
)
def test_the_threshold_that_youden_chooses(positive, score, threshold):
    assert youden(np.array(positive, bool), np.array(score, float)) == threshold
