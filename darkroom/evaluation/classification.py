"""What a classifier is worth: from its predictions to a tree of figures.

A prediction row holds `split_group`, `target_label`, `predicted_label` and `probability_<class>`.
Two classes have a positive one and operating points; more are judged one against the rest.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.files import MetricTree
from darkroom.evaluation.agreement import Statistic, weighted_mean
from darkroom.evaluation.binary import judge_side
from darkroom.evaluation.calibration import calibration_figure
from darkroom.evaluation.metrics import (
    Settings,
    Side,
    auc_figure,
    bootstrap_figure,
    group_counts,
    metric_key,
    share_figure,
)
from darkroom.evaluation.operating_points import Default
from darkroom.evaluation.roc import Flags, auc, weighted_macro_auc

Reals = NDArray[np.float64]


def judge_classes(
    test: pd.DataFrame,
    validation: pd.DataFrame,
    classes: Sequence[str],
    positive: str | None,
    settings: Settings,
) -> MetricTree:
    """Return every figure of the test rows; `positive` None judges each class against the rest.

    A label that the model does not know counts as an error, and as `unknown_labels`.
    """
    groups = test["split_group"].to_numpy()
    right = (test["predicted_label"] == test["target_label"]).to_numpy(bool)
    shares = test["target_label"].value_counts(normalize=True)
    tree: MetricTree = {
        "task": "classification",
        "n": len(test),
        "n_validation": len(validation),
        "unknown_labels": int((~test["target_label"].isin(classes)).sum()),
        **group_counts(groups),
        "accuracy": share_figure(right, groups, settings),
        "balanced_accuracy": _balanced_accuracy(test, classes, settings),
        "majority_share": float(shares.iloc[0]) if len(shares) else None,
        "brier": _brier(test, classes, settings),
        "classes": _each_class(test, classes, settings),
    }
    if positive is None:
        top = test[[f"probability_{name}" for name in classes]].to_numpy(np.float64)
        top = top.max(axis=1, initial=0.0)  # of no rows, too
        calibration = calibration_figure("the likeliest class", top, right, groups, settings)
        return tree | {"calibration_error": calibration, "auc": _macro(test, classes, settings)}
    found = side_of(test, positive)
    return tree | {
        "positive_class": positive,
        "calibration_error": calibration_figure(
            positive, found.score, found.positive, groups, settings
        ),
        **judge_side(
            found, side_of(validation, positive), Default(0.5, "a probability of 0.5"), settings
        ),
    }


def side_of(rows: pd.DataFrame, name: str) -> Side:
    """Return one class against the rest, scored by its probability."""
    probability = np.asarray(rows[f"probability_{name}"], np.float64)
    return Side(_is(rows, name), probability, rows["split_group"].to_numpy())


def brier(target: NDArray[np.bool_], probability: Reals) -> Reals:
    """Return each image's Brier score: Σ (p − y)² over classes, halved for two: (n,).

    `target` and `probability` are (n, classes); it goes from 0 to 1 for two classes, else to 2.
    Source: Brier 1950, Monthly Weather Review 78:1; halved as scikit-learn does.

    >>> brier(np.array([[True, False]]), np.array([[0.7, 0.3]])).round(2)
    array([0.09])
    """
    each = np.sum((probability - target) ** 2, axis=1)
    return np.asarray(each / 2 if target.shape[1] == 2 else each)


def _brier(test: pd.DataFrame, classes: Sequence[str], settings: Settings) -> MetricTree:
    is_class = np.column_stack([_is(test, name) for name in classes])
    each = brier(is_class, np.column_stack([_probability(test, name) for name in classes]))
    value = float(each.mean()) if each.size else None
    groups = test["split_group"].to_numpy()
    return bootstrap_figure("brier", value, weighted_mean(each), groups, settings)


def balanced_accuracy(target: Sequence[Flags], predicted: Sequence[Flags]) -> Statistic:
    """Return the mean sensitivity of the classes that have images, as a function of weights.

    Both are one (n,) per class. Source: Brodersen et al. 2010, ICPR, doi 10.1109/ICPR.2010.764.

    >>> flags = [np.array([True, True, False]), np.array([False, False, True])]
    >>> balanced_accuracy(flags, flags[::-1])(np.ones((1, 3))), balanced_accuracy(flags, flags)(
    ...     np.ones((1, 3)))
    (array([0.]), array([1.]))
    """
    is_class, called = np.column_stack(target), np.column_stack(predicted)  # (n, classes)

    def statistic(weights: Reals) -> Reals:
        counts, hits = weights @ is_class, weights @ (is_class & called)  # (b, classes)
        with np.errstate(invalid="ignore"):
            present = (counts > 0).sum(axis=1)
            recall = np.divide(hits, counts, out=np.zeros_like(hits), where=counts > 0)
            return np.asarray(recall.sum(axis=1) / present)

    return statistic


def f1(target: Flags, predicted: Flags) -> Statistic:
    """Return twice the hits over the sum of targets and calls, in [0, 1], as a function of weights.

    NaN where there are neither. Source: van Rijsbergen 1979, Information Retrieval, chapter 7.

    >>> f1(np.array([True, True, False]), np.array([True, False, False]))(np.ones((1, 3))).round(3)
    array([0.667])
    """
    hits, both = (target & predicted).astype(np.float64), target.astype(np.float64) + predicted

    def statistic(weights: Reals) -> Reals:
        with np.errstate(invalid="ignore"):
            return np.asarray(2 * (weights @ hits) / (weights @ both))

    return statistic


def _balanced_accuracy(
    test: pd.DataFrame, classes: Sequence[str], settings: Settings
) -> MetricTree:
    names = sorted({*classes, *test["target_label"]})  # a label that the model lacks is missed
    statistic = balanced_accuracy(
        [_is(test, name) for name in names], [_is_called(test, name) for name in names]
    )
    return _statistic_figure("balanced_accuracy", statistic, test, settings)


def _statistic_figure(
    name: str, statistic: Statistic, test: pd.DataFrame, settings: Settings
) -> MetricTree:
    value = float(statistic(np.ones((1, len(test))))[0])
    groups = test["split_group"].to_numpy()
    known = value if np.isfinite(value) else None
    return bootstrap_figure(name, known, statistic, groups, settings)


def _each_class(test: pd.DataFrame, classes: Sequence[str], settings: Settings) -> MetricTree:
    """Return each class's figures against the rest."""
    each: MetricTree = {}
    for name in classes:
        side, called = side_of(test, name), _is_called(test, name)
        hit, called_groups = side.positive, side.groups[called]
        each[metric_key(name)] = {
            "n": int(hit.sum()),
            "auc": auc_figure(side, settings),
            "sensitivity": share_figure(called[hit], side.groups[hit], settings),
            "ppv": share_figure(hit[called], called_groups, settings),
            "f1": _statistic_figure(f"f1 {name}", f1(hit, called), test, settings),
        }
    return each


def _macro(test: pd.DataFrame, classes: Sequence[str], settings: Settings) -> MetricTree:
    """Return the plain mean of the classes' AUCs."""
    sides = [side_of(test, name) for name in classes]
    values = [auc(side.positive, side.score) for side in sides]
    known = [value for value in values if value is not None]
    macro = float(np.mean(known)) if known and len(known) == len(values) else None
    groups = test["split_group"].to_numpy()
    statistic = weighted_macro_auc(
        np.column_stack([side.positive for side in sides]),
        np.column_stack([side.score for side in sides]),
    )
    figure = bootstrap_figure("auc", macro, statistic, groups, settings)
    if macro is None:
        figure["note"] = "a class has no test image, or all of them"
    return figure | {"average": "macro, one class against the rest"}


def _is(rows: pd.DataFrame, name: str) -> Flags:
    return np.asarray(rows["target_label"] == name, np.bool_)


def _is_called(rows: pd.DataFrame, name: str) -> Flags:
    return np.asarray(rows["predicted_label"] == name, np.bool_)


def _probability(rows: pd.DataFrame, name: str) -> Reals:
    return np.asarray(rows[f"probability_{name}"], np.float64)
