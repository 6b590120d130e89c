"""Metrics of a one-class model, from its outlier scores.

A prediction row holds `split_group`, `target_label` and `outlier_score`. Positive are the outliers:
images of every label but the normal one.
"""

import numpy as np
import pandas as pd

from darkroom.core.files import MetricTree
from darkroom.evaluation.binary import evaluate_binary
from darkroom.evaluation.metrics import BinaryScores, Settings, group_counts
from darkroom.evaluation.operating_points import DefaultThreshold
from darkroom.evaluation.thresholds import above


def evaluate_one_class(
    test: pd.DataFrame, validation: pd.DataFrame, normal_class: str, settings: Settings
) -> MetricTree:
    """Return every metric of the test rows; validation chooses the operating points alone.

    Where validation has no outlier, and a rule needs one, the threshold lies just above all normal
    validation images; where it has none of these either, there is no operating point.
    """
    tested, held_out = (binary_scores(rows, normal_class) for rows in (test, validation))
    normal, default = held_out.score[~held_out.positive], None
    if normal.size:
        default = DefaultThreshold(above(normal), "just above every normal validation image")
    tree: MetricTree = {
        "task": "one_class",
        "n": len(test),
        "n_validation": len(validation),
        **group_counts(tested.groups),
        **evaluate_binary(tested, held_out, default, settings),
    }
    notes = []
    if not tested.positive.any():
        notes.append(f"no outlier in the test split: every image is of {normal_class}")
    if not normal.size:
        notes.append("no normal validation image, and so no operating point")
    notes += [tree["note"]] if "note" in tree else []
    return tree | ({"note": "; ".join(notes)} if notes else {})


def binary_scores(rows: pd.DataFrame, normal_class: str) -> BinaryScores:
    """Return the outliers against the normal images, by their outlier score."""
    outlier = np.asarray(rows["target_label"] != normal_class, np.bool_)
    score = np.asarray(rows["outlier_score"], np.float64)
    return BinaryScores(outlier, score, rows["split_group"].to_numpy())
