import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from darkroom.core.params.evaluate import Costs
from darkroom.evaluation.intervals import wilson
from darkroom.evaluation.metrics import BinaryScores
from darkroom.evaluation.operating_points import at_prevalence, operating_points
from tests.evaluation.samples import (
    DEFAULT,
    SEEDS,
    SETTINGS,
    binary_task,
    exactly,
    flags_and_scores,
)

COSTS = Costs(false_positive=1.0, false_negative=5.0)


def test_normal_images_alone_choose_the_specificity():
    test = binary_task(1, 200)
    held = binary_task(2, 100)
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


def test_a_point_knows_nothing_of_the_test_split_before_it_is_evaluated():
    held = binary_task(2, 100)
    settings = SETTINGS.model_copy(update={"costs": COSTS, "specificity": 0.975})
    one, other = (
        operating_points(binary_task(seed, 200), held, DEFAULT, settings) for seed in (3, 4)
    )
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
    settings = SETTINGS.model_copy(update={"costs": COSTS, "prevalence": prevalence})
    held = binary_task(2, 400)
    points = operating_points(held, held, DEFAULT, settings)
    assert words in points["least_cost"]["chosen_by"]
    assert "5 per false negative" in points["least_cost"]["chosen_by"]
    rare = prevalence == 0.01
    assert (points["least_cost"]["threshold"] > points["youden"]["threshold"]) == rare


def test_groups_of_both_kinds_are_said_where_intervals_need_independence():
    settings = SETTINGS.model_copy(update={"prevalence": 0.1})
    for per_group, mixed in ((1, False), (5, True)):
        task = binary_task(2, 200, per_group=per_group)
        found = operating_points(task, task, DEFAULT, settings)["youden"]["at_prevalence"]
        assert ("hold both kinds of images: 40" in found.get("note", "")) == mixed


def point_of(sensitivity, specificity):
    """Return an operating point with these rates, known from 100 images each."""
    return {
        name: {"value": value, "method": "Wilson",
               "ci95": dict(zip(("low", "high"), wilson(100 * value, 100, 0.95)[:2], strict=True))}
        for name, value in (("sensitivity", sensitivity), ("specificity", specificity))
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "prevalence", "ppv", "npv"),
    [
        # Altman and Bland 1994, BMJ 309:102: 231 of 258 and 54 of 86 scans right; at the study's
        # prevalence of 258 / 344 the counts' own predictive values, 231 / 263 and 54 / 81
        pytest.param(231 / 258, 54 / 86, 258 / 344, 231 / 263, 54 / 81, id="liver scans"),
        # the same scans where a quarter has a disease: 0.45 and 0.95 by their formulas
        pytest.param(231 / 258, 54 / 86, 0.25, 77 / 173, 162 / 171, id="a quarter"),
        # Eddy 1982, in Judgment under Uncertainty, p. 253: mammograms, 1 % with cancer
        pytest.param(0.792, 0.904, 0.01, 0.00792 / 0.10296, 0.89496 / 0.89704, id="mammograms"),
    ],
)
def test_predictive_values_as_published(sensitivity, specificity, prevalence, ppv, npv):
    found = at_prevalence(point_of(sensitivity, specificity), prevalence, 0.95)
    assert found["ppv"]["value"] == exactly(ppv)
    assert found["npv"]["value"] == exactly(npv)
    for value in (found["ppv"], found["npv"]):
        assert value["ci95"]["low"] < value["value"] < value["ci95"]["high"]


@SEEDS
def test_a_point_is_what_its_confusion_matrix_says(seed):
    positive, score = flags_and_scores(seed)
    held, held_score = flags_and_scores(seed + 100)
    groups = np.arange(score.size)
    settings = SETTINGS.model_copy(update={"bootstrap": 100, "prevalence": 0.02, "costs": COSTS})
    tree = operating_points(
        BinaryScores(positive, score, groups),
        BinaryScores(held, held_score, np.arange(held.size)),
        None,
        settings,
    )
    assert sorted(tree) == ["closest_to_corner", "least_cost", "specificity_90", "youden"]
    for point in tree.values():
        matrix = metrics.confusion_matrix(positive, score >= point["threshold"])
        (right_out, false_in), (missed, hit) = matrix
        shares = {
            "sensitivity": (hit, hit + missed),
            "specificity": (right_out, right_out + false_in),
            "ppv": (hit, hit + false_in),
            "npv": (right_out, right_out + missed),
            "accuracy": (hit + right_out, score.size),
        }
        for name, (part, whole) in shares.items():
            if not whole:
                assert (point[name]["value"], point[name]["note"]) == (None, "no images")
                continue
            ends = stats.binomtest(int(part), int(whole)).proportion_ci(0.95, "wilson")
            assert point[name]["value"] == exactly(part / whole)
            assert point[name]["ci95"]["low"] == exactly(ends.low)
            assert point[name]["ci95"]["high"] == exactly(ends.high)
        hits, alarms = 0.02 * hit / (hit + missed), 0.98 * false_in / (right_out + false_in)
        expected = hits / (hits + alarms) if hits + alarms else None
        found = point["at_prevalence"]["ppv"]["value"]
        assert found is None if expected is None else found == exactly(expected)
