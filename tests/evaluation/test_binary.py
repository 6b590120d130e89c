import numpy as np
import pytest
from scipy import stats

from darkroom.evaluation import binary
from darkroom.evaluation.intervals import wilson
from darkroom.evaluation.metrics import BinaryScores, Settings
from darkroom.evaluation.operating_points import DefaultThreshold, at_prevalence, operating_points
from darkroom.evaluation.roc_band import sensitivity_band

SETTINGS = Settings(0.95, 200, None, 17, 0.9, None, 0.1)
DEFAULT = DefaultThreshold(3.0, "three")
AT = np.array([0.05, 0.1, 0.2, 0.5])


def drawn(seed, count, shift=1.5, per_group=1):
    rng = np.random.default_rng(seed)
    positive = np.arange(count) % 2 == 0
    groups = np.arange(count) // per_group
    noise = rng.normal(size=count) if per_group == 1 else (
        (rng.normal(size=count) + rng.normal(size=count)[groups]) / np.sqrt(2)
    )  # fmt: skip
    return BinaryScores(positive, noise + shift * positive, groups)


@pytest.mark.parametrize("per_group", [1, 5])
def test_the_band_covers_the_true_curve_at_each_rate(per_group):
    truth = stats.norm.sf(stats.norm.isf(AT) - 1.5)
    ends = [sensitivity_band(drawn(seed, 200, per_group=per_group), AT, 0.95) for seed in range(40)]
    covered = np.mean([(low <= truth) & (truth <= high) for low, high in ends], axis=0)
    assert (covered >= 0.85).all()  # of 40 draws at 95 %, fewer than 34 come once in 600 sets
    assert np.mean([high - low for low, high in ends]) < 0.45


@pytest.mark.parametrize(
    "side",
    [
        pytest.param(drawn(1, 60), id="ordinary"),
        pytest.param(drawn(1, 60, shift=50), id="separated"),
        pytest.param(drawn(1, 60, shift=-50), id="reversed"),
        pytest.param(drawn(1, 60)._replace(score=np.ones(60)), id="constant"),
        pytest.param(drawn(1, 60, per_group=30), id="two groups"),
    ],
)
def test_the_band_holds_the_curve_and_ends_in_the_corner(side):
    rows = binary.roc_rows("a", side, SETTINGS)
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
    rows = binary.roc_rows("a", drawn(1, 20)._replace(groups=groups), SETTINGS)
    assert len(rows) > 2
    assert rows[["low", "high"]].isna().all(axis=None)


def test_of_very_many_negatives_the_band_is_wilsons_interval():
    positive = np.arange(50_040) < 40
    score = np.random.default_rng(1).normal(size=positive.size) + 1.5 * positive
    side = BinaryScores(positive, score, np.arange(positive.size))
    at = np.array([0.1, 0.3])
    for low, high, rate in zip(*sensitivity_band(side, at, 0.95), at, strict=True):
        found = np.sum(score[positive] >= np.quantile(score[~positive], 1 - rate))
        expected = wilson(found, 40, 0.95)
        assert (low, high) == pytest.approx(expected[:2], abs=0.02)


def test_normal_images_alone_choose_the_specificity():
    test = drawn(1, 200)
    held = drawn(2, 100)
    held = BinaryScores(*(part[~held.positive] for part in held))
    points = operating_points(test, held, DEFAULT, SETTINGS)
    chosen = points["specificity_90"]
    assert chosen["chosen_by"] == "specificity of at least 0.9 on validation"
    assert np.mean(held.score < chosen["threshold"]) == 0.9
    for name in ("youden", "closest_to_corner"):
        assert points[name]["threshold"] == 3.0
        assert points[name]["chosen_by"].startswith("default, three: validation lacks a class")
    assert all("0 positive, 50 negative" in point["note"] for point in points.values())
    assert list(operating_points(test, held, None, SETTINGS)) == ["specificity_90"]


def test_a_point_knows_nothing_of_the_test_split_before_it_is_judged():
    held = drawn(2, 100)
    settings = SETTINGS._replace(costs=(1.0, 5.0), specificity=0.975)
    one, other = (operating_points(drawn(seed, 200), held, DEFAULT, settings) for seed in (3, 4))
    assert sorted(one) == ["closest_to_corner", "least_cost", "specificity_97%2E5", "youden"]
    for name, point in one.items():
        assert point["threshold"] == other[name]["threshold"]
        assert point["chosen_by"] == other[name]["chosen_by"]
        assert "note" not in point


@pytest.mark.parametrize(
    ("prevalence", "words"),
    [
        pytest.param(None, "at a prevalence of 0.5, that of validation", id="as in validation"),
        pytest.param(0.01, "at a prevalence of 0.01, evaluate.prevalence", id="as in use"),
    ],
)
def test_costs_are_weighed_at_the_prevalence_in_use(prevalence, words):
    settings = SETTINGS._replace(costs=(1.0, 5.0), prevalence=prevalence)
    held = drawn(2, 400)
    points = operating_points(held, held, DEFAULT, settings)
    assert words in points["least_cost"]["chosen_by"]
    assert "5 per false negative" in points["least_cost"]["chosen_by"]
    rare = prevalence == 0.01
    assert (points["least_cost"]["threshold"] > points["youden"]["threshold"]) == rare


def test_predictive_values_are_drawn_for_each_point():
    held = drawn(2, 400)
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


def test_groups_of_both_kinds_are_said_where_intervals_need_independence():
    settings = SETTINGS._replace(prevalence=0.1)
    for per_group, mixed in ((1, False), (5, True)):
        side = drawn(2, 200, per_group=per_group)
        found = operating_points(side, side, DEFAULT, settings)["youden"]["at_prevalence"]
        assert ("hold both kinds of images: 40" in found.get("note", "")) == mixed


def test_without_points_nothing_is_drawn():
    rows = binary.prevalence_rows({}, SETTINGS)
    assert (list(rows.columns), len(rows)) == (binary.PREVALENCE, 0)
