"""Metrics of a classifier, from its predictions.

A prediction row holds `split_group`, `target_label`, `predicted_label` and `probability_<class>`.
Two classes have a positive one and operating points; more are evaluated one against the rest.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree
from darkroom.evaluation import metrics
from darkroom.evaluation.binary import evaluate_binary
from darkroom.evaluation.calibration import calibration_error_metric
from darkroom.evaluation.metrics import BinaryScores, Settings
from darkroom.evaluation.operating_points import DefaultThreshold
from darkroom.evaluation.roc import auc, weighted_macro_auc
from darkroom.evaluation.statistic import Flags, Reals, Statistic


def evaluate_classes(
    test: pd.DataFrame,
    validation: pd.DataFrame,
    classes: Sequence[str],
    positive: str | None,
    settings: Settings,
) -> MetricTree:
    """Return every metric of the test rows; without `positive` of each class against the rest.

    A label that the model does not know counts as an error, and as `unknown_labels`.
    """
    groups = test["split_group"].to_numpy()
    correct = (test["predicted_label"] == test["target_label"]).to_numpy(bool)
    names = sorted({*classes, *test["target_label"]})  # a label that the model lacks is missed
    flags = (one_hot(test[f"{of}_label"], names) for of in ("target", "predicted"))
    scores = brier(one_hot(test["target_label"], classes), probabilities(test, classes))
    frequencies = test["target_label"].value_counts(normalize=True)
    tree: MetricTree = {
        "task": "classification",
        "n": len(test),
        "n_validation": len(validation),
        "unknown_labels": int((~test["target_label"].isin(classes)).sum()),
        **metrics.group_counts(groups),
        "accuracy": metrics.proportion_metric(correct, groups, settings),
        "balanced_accuracy": metrics.statistic_metric(
            "balanced_accuracy", balanced_accuracy(*flags), groups, settings
        ),
        "majority_share": float(frequencies.iloc[0]) if len(frequencies) else None,
        "brier": metrics.mean_metric("brier", scores, groups, settings),
        "classes": _per_class(test, classes, settings),
    }
    if positive is None:
        top = probabilities(test, classes).max(axis=1, initial=0.0)  # of no rows, too
        calibration = calibration_error_metric(
            "the likeliest class", top, correct, groups, settings
        )
        return tree | {"calibration_error": calibration, "auc": _macro_auc(test, classes, settings)}
    tested, held_out = (binary_scores(rows, positive) for rows in (test, validation))
    default = DefaultThreshold(0.5, "a probability of 0.5")
    return tree | {
        "positive_class": positive,
        "calibration_error": calibration_error_metric(
            positive, tested.score, tested.positive, groups, settings
        ),
        **evaluate_binary(tested, held_out, default, settings),
    }


def choose_positive(classes: Sequence[str], wanted: str | None) -> str | None:
    """Return the positive class: the wanted one, the last by name of two, None of several.

    Raises UserError for a class that the model does not know.
    """
    if wanted is not None and wanted not in classes:
        raise UserError(
            f"evaluate.positive_class in params.yaml: expected one of the model's classes"
            f" {', '.join(sorted(classes))}, or null; got {wanted!r}"
        )
    return wanted or (max(classes) if len(classes) == 2 else None)


def binary_scores(rows: pd.DataFrame, name: str) -> BinaryScores:
    """Return one class against the rest, by its probability."""
    probability = np.asarray(rows[f"probability_{name}"], np.float64)
    positive = np.asarray(rows["target_label"] == name, np.bool_)
    return BinaryScores(positive, probability, rows["split_group"].to_numpy())


def probabilities(rows: pd.DataFrame, classes: Sequence[str]) -> Reals:
    """Return the probability of each class: (n, classes)."""
    return np.asarray(rows[[f"probability_{name}" for name in classes]], np.float64)


def one_hot(labels: pd.Series, classes: Sequence[str]) -> Flags:
    """Return whether each label is each class: (n, classes)."""
    return np.column_stack([np.asarray(labels == name, np.bool_) for name in classes])


def brier(target: Flags, probability: Reals) -> Reals:
    """Return each image's Brier score: Σ (p − y)² over classes, halved for two: (n,).

    `target` and `probability` are (n, classes); it goes from 0 to 1 for two classes, else to 2.
    Source: Brier 1950, Monthly Weather Review 78:1; halved as scikit-learn does.

    >>> brier(np.array([[True, False]]), np.array([[0.7, 0.3]])).round(2)
    array([0.09])
    """
    each = np.sum((probability - target) ** 2, axis=1)
    return np.asarray(each / 2 if target.shape[1] == 2 else each)


def balanced_accuracy(is_class: Flags, predicted: Flags) -> Statistic:
    """Return the mean sensitivity of the classes that have images, as a function of weights.

    Both are (n, classes). Source: Brodersen et al. 2010, ICPR, doi 10.1109/ICPR.2010.764.

    >>> flags, weights = np.array([[True, False], [True, False], [False, True]]), np.ones((1, 3))
    >>> balanced_accuracy(flags, ~flags)(weights), balanced_accuracy(flags, flags)(weights)
    (array([0.]), array([1.]))
    """
    hit = is_class & predicted

    def statistic(weights: Reals) -> Reals:
        counts, hits = weights @ is_class, weights @ hit  # (b, classes)
        with np.errstate(invalid="ignore"):
            present = (counts > 0).sum(axis=1)
            recall = np.divide(hits, counts, out=np.zeros_like(hits), where=counts > 0)
            return np.asarray(recall.sum(axis=1) / present)

    return statistic


def f1(target: Flags, predicted: Flags) -> Statistic:
    """Return F1 in [0, 1] as a function of weights: 2 TP / (positives + predicted positives).

    NaN where there are neither. Source: van Rijsbergen 1979, Information Retrieval, chapter 7.

    >>> f1(np.array([True, True, False]), np.array([True, False, False]))(np.ones((1, 3))).round(3)
    array([0.667])
    """
    hits, both = (target & predicted).astype(np.float64), target.astype(np.float64) + predicted

    def statistic(weights: Reals) -> Reals:
        with np.errstate(invalid="ignore"):
            return np.asarray(2 * (weights @ hits) / (weights @ both))

    return statistic


def _per_class(test: pd.DataFrame, classes: Sequence[str], settings: Settings) -> MetricTree:
    """Return each class's metrics against the rest."""
    tree: MetricTree = {}
    for name in classes:
        task, predicted = binary_scores(test, name), one_hot(test["predicted_label"], [name])[:, 0]
        positive, groups, statistic = task.positive, task.groups, f1(task.positive, predicted)
        tree[metrics.metric_key(name)] = {
            "n": int(positive.sum()),
            "auc": metrics.auc_metric(task, settings),
            "sensitivity": metrics.proportion_metric(
                predicted[positive], groups[positive], settings
            ),
            "ppv": metrics.proportion_metric(positive[predicted], groups[predicted], settings),
            "f1": metrics.statistic_metric(f"f1 {name}", statistic, groups, settings),
        }
    return tree


def _macro_auc(test: pd.DataFrame, classes: Sequence[str], settings: Settings) -> MetricTree:
    """Return the plain mean of the classes' AUCs."""
    is_class, score = one_hot(test["target_label"], classes), probabilities(test, classes)
    values = [auc(*pair) for pair in zip(is_class.T, score.T, strict=True)]
    known = [value for value in values if value is not None]
    macro = float(np.mean(known)) if known and len(known) == len(values) else None
    groups = test["split_group"].to_numpy()
    statistic = weighted_macro_auc(is_class, score)
    metric = metrics.bootstrap_metric("auc", macro, statistic, groups, settings)
    if macro is None:
        metric["note"] = "a class has no test image, or all of them"
    return metric | {"average": "macro, one class against the rest"}
