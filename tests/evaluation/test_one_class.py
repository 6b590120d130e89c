import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from darkroom.evaluation.one_class import evaluate_one_class
from tests.evaluation.samples import SETTINGS


def table(labels, scores):
    return pd.DataFrame(
        {"split_group": [str(n) for n in range(len(labels))], "target_label": labels,
         "outlier_score": np.asarray(scores, np.float64)}
    )  # fmt: skip


@pytest.fixture
def split():
    rng = np.random.default_rng(3)

    def draw(normal, outliers):
        labels = ["cat"] * normal + ["dog", "cow"] * (outliers // 2)
        return table(labels, rng.normal(np.repeat([0, 1], [normal, outliers])))

    return draw


def test_the_outliers_of_any_label_are_the_positives(split):
    test, validation = split(40, 30), split(30, 20)
    tree = evaluate_one_class(test, validation, "cat", SETTINGS)
    wanted = roc_auc_score(test["target_label"] != "cat", test["outlier_score"])
    assert tree["auc"]["value"] == pytest.approx(wanted, abs=1e-9)
    assert (tree["task"], tree["n"], tree["positives"]) == ("one_class", 70, 30)
    point = tree["operating_points"]["youden"]
    called = test["outlier_score"] >= point["threshold"]
    outlier = test["target_label"] != "cat"
    assert point["sensitivity"]["value"] == pytest.approx(called[outlier].mean())
    assert point["specificity"]["value"] == pytest.approx((~called)[~outlier].mean())


def test_without_outliers_to_test_the_auc_is_null_with_a_note(split):
    tree = evaluate_one_class(split(30, 0), split(20, 0), "cat", SETTINGS)
    assert tree["auc"]["value"] is None
    assert tree["auc"]["note"]
    assert "no outlier in the test split" in tree["note"]
    few = evaluate_one_class(split(9, 0), split(20, 0), "cat", SETTINGS)
    assert few["note"].startswith("no outlier")
    assert few["note"].endswith("interval unreliable: 9 groups")


def test_without_outliers_to_choose_by_the_threshold_lies_above_the_normal_images(split):
    validation = split(20, 0)
    tree = evaluate_one_class(split(30, 30), validation, "cat", SETTINGS)
    highest, point = validation["outlier_score"].max(), tree["operating_points"]["youden"]
    assert highest < point["threshold"] <= highest + 1e-9
    assert point["chosen_by"].startswith("default, just above every normal validation image")
    specific = tree["operating_points"]["specificity_90"]
    assert (validation["outlier_score"] < specific["threshold"]).mean() >= 0.9
    assert specific["threshold"] <= highest, "it needs normal images alone"


@pytest.mark.parametrize("outliers", [0, 4])
def test_without_normal_images_to_choose_by_there_is_no_operating_point(split, outliers):
    tree = evaluate_one_class(split(20, 20), split(0, outliers), "cat", SETTINGS)
    assert tree["operating_points"] == {}
    assert tree["note"] == "no normal validation image, and so no operating point"
    assert tree["auc"]["value"] is not None


def test_no_normal_image_at_all_is_no_crash(split):
    tree = evaluate_one_class(split(0, 4), split(0, 4), "cat", SETTINGS)
    assert tree["auc"]["value"] is None
