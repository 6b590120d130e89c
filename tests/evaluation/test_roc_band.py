import numpy as np
import pytest
from scipy import stats

from darkroom.evaluation import binary
from darkroom.evaluation.intervals import wilson
from darkroom.evaluation.metrics import BinaryScores
from darkroom.evaluation.roc_band import sensitivity_band
from tests.evaluation.samples import SETTINGS, binary_task

AT = np.array([0.05, 0.1, 0.2, 0.5])


@pytest.mark.parametrize("per_group", [1, 5])
def test_the_band_covers_the_true_curve_at_each_rate(per_group):
    truth = stats.norm.sf(stats.norm.isf(AT) - 1.5)
    ends = [
        sensitivity_band(binary_task(seed, 200, per_group=per_group), AT, 0.95)
        for seed in range(40)
    ]
    covered = np.mean([(low <= truth) & (truth <= high) for low, high in ends], axis=0)
    assert (covered >= 0.85).all()  # of 40 draws at 95 %, fewer than 34 come once in 600 sets
    assert np.mean([high - low for low, high in ends]) < 0.45


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(binary_task(1, 60), id="ordinary"),
        pytest.param(binary_task(1, 60, shift=50), id="separated"),
        pytest.param(binary_task(1, 60, shift=-50), id="reversed"),
        pytest.param(binary_task(1, 60)._replace(score=np.ones(60)), id="constant"),
        pytest.param(binary_task(1, 60, per_group=30), id="two groups"),
    ],
)
def test_the_band_holds_the_curve_and_ends_in_the_corner(task):
    rows = binary.roc_rows("a", task, SETTINGS)
    tops = rows.groupby("false_positive_rate")["true_positive_rate"].max()
    ends = rows.groupby("false_positive_rate")[["low", "high"]].last()
    assert (ends["low"] <= tops + 1e-9).all()
    assert (tops <= ends["high"] + 1e-9).all()
    assert ends.iloc[-1].tolist() == [1, 1]
    assert ((ends["high"] - ends["low"]).iloc[:-1] > 0).all()  # no certainty from 30 positives


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(np.zeros(20), id="one group"),
        pytest.param(np.where(np.arange(20) % 2 == 0, -1, np.arange(20)), id="one of positives"),
        pytest.param(np.where(np.arange(20) % 2, -1, np.arange(20)), id="one of negatives"),
    ],
)
def test_one_group_of_a_class_gives_no_band(groups):
    rows = binary.roc_rows("a", binary_task(1, 20)._replace(groups=groups), SETTINGS)
    assert len(rows) > 2
    assert rows[["low", "high"]].isna().all(axis=None)


def test_of_very_many_negatives_the_band_is_wilsons_interval():
    positive = np.arange(50_040) < 40
    score = np.random.default_rng(1).normal(size=positive.size) + 1.5 * positive
    task = BinaryScores(positive, score, np.arange(positive.size))
    at = np.array([0.1, 0.3])
    for low, high, rate in zip(*sensitivity_band(task, at, 0.95), at, strict=True):
        found = np.sum(score[positive] >= np.quantile(score[~positive], 1 - rate))
        expected = wilson(found, 40, 0.95)
        assert (low, high) == pytest.approx(expected[:2], abs=0.02)
