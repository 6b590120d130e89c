import numpy as np
import pytest
from sklearn import metrics

from darkroom.evaluation import binary, roc
from darkroom.evaluation.binary import roc_rows
from darkroom.evaluation.metrics import BinaryScores
from darkroom.evaluation.operating_points import at_prevalence, operating_points
from tests.evaluation.samples import DEFAULT, SEEDS, SETTINGS, binary_task, flags_and_scores


def test_predictive_values_are_drawn_for_each_point():
    held = binary_task(2, 400)
    points = operating_points(held, held, DEFAULT, SETTINGS)
    rows = binary.prevalence_rows(points, SETTINGS)
    assert set(rows["point"]) == set(points)
    assert rows["prevalence"].min() == pytest.approx(0.001)
    assert rows["prevalence"].max() == pytest.approx(0.999)
    youden = rows[rows["point"] == "youden"].set_index("prevalence")
    expected = at_prevalence(points["youden"], youden.index[7], 0.95)
    assert youden["ppv"].iloc[7] == expected["ppv"]["value"]
    assert youden["npv_low"].iloc[7] == expected["npv"]["ci95"]["low"]
    assert youden["ppv"].is_monotonic_increasing
    assert youden["npv"].is_monotonic_decreasing
    assert (youden["ppv_low"] <= youden["ppv"]).all()
    assert (youden["ppv"] <= youden["ppv_high"]).all()


def test_without_points_nothing_is_drawn():
    rows = binary.prevalence_rows({}, SETTINGS)
    assert (list(rows.columns), len(rows)) == (binary.PREVALENCE, 0)


@SEEDS
def test_roc_points(seed):
    positive, score = flags_and_scores(seed)
    rates = roc.weighted_roc(positive, score)(np.ones((1, score.size)))
    across, up, _ = metrics.roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose([rates[0][0], rates[1][0]], [across, up], rtol=0, atol=1e-9)
    rows = roc_rows("a", BinaryScores(positive, score, np.arange(score.size)), SETTINGS)
    across, up, threshold = metrics.roc_curve(positive, score)
    corners = rows[(rows.index == 0) | rows["threshold"].notna()]
    found = corners[["false_positive_rate", "true_positive_rate", "threshold"]].to_numpy()
    expected = np.column_stack([across, up, np.where(np.isfinite(threshold), threshold, np.nan)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    on_lines = np.interp(rows["false_positive_rate"], across, up)
    assert (rows["true_positive_rate"] <= on_lines + 1e-9).all()
    assert (rows["low"] <= rows["high"]).all()
    assert rows["low"].is_monotonic_increasing
    assert rows["high"].is_monotonic_increasing
