"""What a classifier is worth: from its predictions to a tree of figures.

A prediction row holds `split_group`, `target_label`, `predicted_label` and `probability_<class>`.
Two classes have a positive one and operating points; more are judged one against the rest.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.lib.files import MetricTree
from stages.statistics.agreement import Statistic, weighted_mean
from stages.statistics.figures import (
    Settings,
    auc_figure,
    bootstrap_figure,
    group_counts,
    metric_key,
    share_figure,
)
from stages.statistics.operating import choose_threshold, operating_point
from stages.statistics.roc import auc, weighted_auc

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
        "majority_share": float(shares.iloc[0]) if len(shares) else None,
        "brier": _brier(test, classes, settings),
    }
    if positive is not None:
        return tree | _one_class(test, validation, positive, settings)
    return tree | _each_class(test, classes, settings)


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


def _one_class(
    test: pd.DataFrame, validation: pd.DataFrame, positive: str, settings: Settings
) -> MetricTree:
    is_positive, score = _is(test, positive), _probability(test, positive)
    groups = test["split_group"].to_numpy()
    chosen, how = choose_threshold(
        _is(validation, positive), _probability(validation, positive), 0.5
    )
    point = operating_point(chosen, is_positive, score, groups, settings)
    return {
        "positive_class": positive,
        "positives": int(is_positive.sum()),
        "auc": auc_figure("auc", is_positive, score, groups, settings),
        "operating_point": {"chosen_by": how, **point},
    }


def _each_class(test: pd.DataFrame, classes: Sequence[str], settings: Settings) -> MetricTree:
    """Return each class's figures against the rest, and the plain mean of their AUCs."""
    groups, predicted = test["split_group"].to_numpy(), test["predicted_label"]
    each: MetricTree = {}
    for name in classes:
        is_class, called = _is(test, name), (predicted == name).to_numpy(bool)
        score = _probability(test, name)
        each[metric_key(name)] = {
            "n": int(is_class.sum()),
            "auc": auc_figure(f"auc {name}", is_class, score, groups, settings),
            "sensitivity": share_figure(called[is_class], groups[is_class], settings),
            "ppv": share_figure(is_class[called], groups[called], settings),
        }
    values = [auc(_is(test, name), _probability(test, name)) for name in classes]
    known = [value for value in values if value is not None]
    macro = float(np.mean(known)) if known and len(known) == len(values) else None
    figure = bootstrap_figure("auc", macro, _macro_auc(test, classes), groups, settings)
    if macro is None:
        figure["note"] = "a class has no test image, or all of them"
    return {"auc": figure | {"average": "macro, one class against the rest"}, "classes": each}


def _macro_auc(test: pd.DataFrame, classes: Sequence[str]) -> Statistic:
    parts = [weighted_auc(_is(test, name), _probability(test, name)) for name in classes]
    return lambda weights: np.asarray(np.mean([part(weights) for part in parts], axis=0))


def _is(rows: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    return np.asarray(rows["target_label"] == name, np.bool_)


def _probability(rows: pd.DataFrame, name: str) -> Reals:
    return np.asarray(rows[f"probability_{name}"], np.float64)
