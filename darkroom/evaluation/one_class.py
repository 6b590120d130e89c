"""What a model of one class is worth: from its outlier scores to a tree of figures.

A prediction row holds `split_group`, `target_label` and `outlier_score`. The positive side are the
outliers: images of every label but the normal one.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.files import MetricTree
from darkroom.evaluation.binary import judge_side
from darkroom.evaluation.metrics import Settings, Side, group_counts
from darkroom.evaluation.operating_points import Default


def judge_one_class(
    test: pd.DataFrame, validation: pd.DataFrame, normal_class: str, settings: Settings
) -> MetricTree:
    """Return every figure of the test rows; validation chooses the operating points alone.

    Where validation has no outlier, and a rule needs one, the threshold lies just above all normal
    validation images; where it has none of these either, there is no operating point.
    """
    found, known = (side_of(rows, normal_class) for rows in (test, validation))
    normal = known.score[~known.positive]
    tree: MetricTree = {
        "task": "one_class",
        "n": len(test),
        "n_validation": len(validation),
        **group_counts(found.groups),
        **judge_side(found, known, above_all(normal), settings),
    }
    notes = []
    if not found.positive.any():
        notes.append(f"no outlier in the test split: every image is of {normal_class}")
    if not normal.size:
        notes.append("no normal validation image, and so no operating point")
    notes += [tree["note"]] if "note" in tree else []
    return tree | ({"note": "; ".join(notes)} if notes else {})


def above_all(score: NDArray[np.float64]) -> Default | None:
    """Return the threshold just above all of these scores, None where there are none."""
    if not score.size:
        return None
    return Default(
        float(np.nextafter(score.max(), np.inf)), "just above every normal validation image"
    )


def side_of(rows: pd.DataFrame, normal_class: str) -> Side:
    """Return the outliers against the normal images, scored by how outlying they are."""
    outlier = np.asarray(rows["target_label"] != normal_class, np.bool_)
    return Side(
        outlier, np.asarray(rows["outlier_score"], np.float64), rows["split_group"].to_numpy()
    )
