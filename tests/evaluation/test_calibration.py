import numpy as np
import pytest

from darkroom.evaluation import calibration
from darkroom.evaluation.calibration import (
    calibration_error_metric,
    error_if_calibrated,
    reliability,
)
from darkroom.evaluation.intervals import mean_interval, proportion_interval
from darkroom.evaluation.statistic import unweighted
from tests.evaluation.samples import SEEDS, SETTINGS

RNG = np.random.default_rng(5)
PROBABILITY = RNG.random(400)
GROUPS = np.arange(400)


def calibration_error(probability, outcome):
    return unweighted(calibration.weighted_calibration_error(probability, outcome), outcome.size)


def test_a_calibrated_model_shows_what_calibrated_models_show():
    right = RNG.random(400) < PROBABILITY
    found = calibration_error_metric("a", PROBABILITY, right, GROUPS, SETTINGS)
    assert (found["of"], found["bins"]) == ("a", 10)
    assert 0 < found["if_calibrated"] < 0.06
    assert found["value"] < 2 * found["if_calibrated"]
    assert "biased upwards" in found["note"]
    errors = [calibration_error(PROBABILITY, RNG.random(400) < PROBABILITY) for _ in range(300)]
    assert found["if_calibrated"] == pytest.approx(np.mean(errors), rel=0.1)


def test_a_sure_model_that_is_half_right_is_off_by_half():
    right = np.arange(400) % 2 == 0
    assert calibration_error(np.ones(400), right) == pytest.approx(0.5)
    assert error_if_calibrated(np.ones(400), np.random.default_rng(1)) == 0
    found = calibration_error_metric("a", np.ones(400), right, GROUPS, SETTINGS)
    assert found["ci95"]["low"] < 0.5 < found["ci95"]["high"]


def test_no_images_no_error():
    none = np.zeros(0)
    found = calibration_error_metric("a", none, none.astype(bool), none, SETTINGS)
    assert (found["value"], found["ci95"]["low"]) == (None, None)
    assert found["note"]


def test_ratings_are_reliable_where_the_mean_of_the_bin_is():
    predicted = np.linspace(1, 10, 400)
    target = predicted + RNG.normal(size=400)
    rows = reliability("mean score", predicted, target, GROUPS, 0.95, mean_interval)
    assert rows["n"].tolist() == [40] * 10
    assert ((rows["low"] <= rows["predicted"]) & (rows["predicted"] <= rows["high"])).sum() >= 8
    assert (rows["high"] - rows["low"]).between(0.3, 1.2).all()


@SEEDS
def test_bins_are_of_equal_mass_and_keep_ties_together(seed):
    probability = np.random.default_rng(seed).random(200).round(3 * (seed % 4) + 1)
    bins = calibration.equal_mass_bins(probability)
    order = np.argsort(probability, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert all(len(set(bins[probability == value])) == 1 for value in probability)
    if np.unique(probability).size == 200:
        assert set(np.bincount(bins)) == {20}
    rows = reliability(
        "a", probability, probability > 0.5, np.arange(200), 0.95, proportion_interval
    )
    true, predicted = (rows[name].to_numpy() for name in ("observed", "predicted"))
    edges = [probability[bins == b].min() for b in range(bins.max() + 1)]
    theirs = [probability[bins == b].mean() for b in range(len(edges))]
    np.testing.assert_allclose(predicted, theirs, rtol=0, atol=1e-9)
    assert ((rows["low"] <= true) & (true <= rows["high"])).all()
