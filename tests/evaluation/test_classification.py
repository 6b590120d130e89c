import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from darkroom.evaluation import calibration, classification
from darkroom.evaluation.predictions import class_predictions, evaluate_predictions
from darkroom.models.saved import SavedModel
from tests.evaluation.samples import (
    EXACT,
    PARAMS,
    SEEDS,
    exactly,
    probabilities,
    weights_of,
)


def evaluated(labels, shares, names):
    """Return the metrics tree of these predictions, all of the test split."""
    keys = [f"{i:04d}" for i in range(labels.size)]
    rows = pd.DataFrame({"key": keys, "split": "test", "split_group": keys})
    table = class_predictions(rows.assign(label=np.array(names, object)[labels]), shares, names)
    model = SavedModel("classification", names, None, 16, "resize", b"")
    return evaluate_predictions(table, model, PARAMS, 17), table


@SEEDS
def test_two_classes(seed):
    labels, shares = probabilities(seed, 2)
    tree, table = evaluated(labels, shares, ("a", "b"))
    called = table["predicted_label"] == "b"
    assert tree["auc"]["value"] == exactly(metrics.roc_auc_score(labels, shares[:, 1]))
    assert tree["partial_auc"]["value"] == exactly(
        metrics.roc_auc_score(labels, shares[:, 1], max_fpr=0.2)
    )
    assert tree["brier"]["value"] == exactly(metrics.brier_score_loss(labels, shares[:, 1]))
    assert tree["accuracy"]["value"] == exactly(metrics.accuracy_score(labels, called))
    found = tree["calibration_error"]["value"]
    assert found == exactly(slow_calibration_error(shares[:, 1], labels == 1))
    assert tree["classes"]["b"]["f1"]["value"] == exactly(metrics.f1_score(labels, called))


@SEEDS
@pytest.mark.parametrize("count", [3, 6])
def test_several_classes(seed, count):
    labels, shares = probabilities(seed, count)
    names = tuple("abcdef"[:count])
    tree, table = evaluated(labels, shares, names)
    target, called = table["target_label"], table["predicted_label"]
    expected = metrics.roc_auc_score(target, shares, multi_class="ovr", labels=list(names))
    assert tree["auc"]["value"] == exactly(expected)
    expected = metrics.brier_score_loss(target, shares, labels=list(names), scale_by_half=False)
    assert tree["brier"]["value"] == exactly(expected)
    expected = metrics.balanced_accuracy_score(target, called)
    assert tree["balanced_accuracy"]["value"] == exactly(expected)
    right = (target == called).to_numpy()
    expected = slow_calibration_error(shares.max(axis=1), right)
    assert tree["calibration_error"]["value"] == exactly(expected)
    scores = metrics.precision_recall_fscore_support(
        target, called, labels=list(names), zero_division=np.nan
    )
    for position, name in enumerate(names):
        found = tree["classes"][name]
        values = [found[key]["value"] for key in ("ppv", "sensitivity", "f1")]
        for value, theirs in zip(values, scores, strict=False):
            assert (
                value is None if np.isnan(theirs[position]) else value == exactly(theirs[position])
            )
        assert found["n"] == scores[3][position]


@SEEDS
def test_under_weights_the_drawn_images_alone_count(seed):
    labels, shares = probabilities(seed, 3)
    weights, drawn = weights_of(seed, labels.size)
    called = shares.argmax(axis=1)
    found = classification.balanced_accuracy(
        np.eye(3, dtype=bool)[labels], np.eye(3, dtype=bool)[called]
    )(weights)[0]
    assert found == exactly(metrics.balanced_accuracy_score(labels[drawn], called[drawn]))
    found = classification.f1(labels == 1, called == 1)(weights)[0]
    expected = metrics.f1_score(labels[drawn] == 1, called[drawn] == 1, zero_division=np.nan)
    assert found == pytest.approx(expected, nan_ok=True, **EXACT)


def slow_calibration_error(probability, right):
    bins = calibration.equal_mass_bins(probability)
    error = 0.0
    for b in set(bins.tolist()):
        inside = [i for i in range(len(right)) if bins[i] == b]
        confidence = sum(probability[i] for i in inside) / len(inside)
        accuracy = sum(bool(right[i]) for i in inside) / len(inside)
        error += len(inside) / len(right) * abs(confidence - accuracy)
    return error


def test_what_every_draw_leaves_undefined_is_null_and_not_1():
    """Of 40 classes with one image each, no draw of images with replacement has all."""
    names = tuple(f"{number:02d}" for number in range(40))
    tree, _ = evaluated(np.arange(40), 0.5 * np.eye(40) + 0.5 / 40, names)
    assert tree["auc"]["value"] is None
    assert tree["auc"]["ci95"] == {"low": None, "high": None}
    assert "a class with one alone" in tree["auc"]["note"]
    assert tree["classes"]["00"]["sensitivity"]["ci95"]["low"] < 0.21
