import numpy as np
import pytest
from scipy import stats

from darkroom.evaluation.calibration import (
    calibration_error,
    calibration_error_metric,
    error_if_calibrated,
    mean_interval,
    reliability_of_means,
)
from darkroom.evaluation.metrics import Settings

SETTINGS = Settings(0.95, 200, None, 17, 0.9, None, 0.1)
RNG = np.random.default_rng(5)
PROBABILITY = RNG.random(400)
GROUPS = np.arange(400)


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


def test_ratings_are_reliable_where_the_mean_of_the_bin_is():
    predicted = np.linspace(1, 10, 400)
    target = predicted + RNG.normal(size=400)
    rows = reliability_of_means("mean score", predicted, target, GROUPS, 0.95)
    assert rows["n"].tolist() == [40] * 10
    assert ((rows["low"] <= rows["predicted"]) & (rows["predicted"] <= rows["high"])).sum() >= 8
    assert (rows["high"] - rows["low"]).between(0.3, 1.2).all()
