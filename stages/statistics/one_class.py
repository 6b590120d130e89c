"""What a model of one class is worth: from its outlier scores to a tree of figures.

A prediction row holds `split_group`, `target_label` and `outlier_score`. The positive side are the
outliers: images of every label but the normal one.
"""

import numpy as np
import pandas as pd

from stages.lib.files import MetricTree
from stages.statistics.figures import Settings, Side, group_counts
from stages.statistics.sides import judge_side


def judge_one_class(
    test: pd.DataFrame, validation: pd.DataFrame, normal_class: str, settings: Settings
) -> MetricTree:
    """Return every figure of the test rows; validation chooses the operating points alone.

    Where validation has no outlier, and a rule needs one, the threshold lies just above all normal
    validation images.
    """
    found, known = (side_of(rows, normal_class) for rows in (test, validation))
    highest = np.max(known.score[~known.positive], initial=-np.finfo(np.float64).max)
    tree: MetricTree = {
        "task": "one_class",
        "n": len(test),
        "n_validation": len(validation),
        **group_counts(found.groups),
        **judge_side(found, known, float(np.nextafter(highest, np.inf)), settings),
    }
    if not found.positive.any():
        tree["note"] = f"no outlier in the test split: every image is of {normal_class}"
    return tree


def side_of(rows: pd.DataFrame, normal_class: str) -> Side:
    """Return the outliers against the normal images, scored by how outlying they are."""
    outlier = np.asarray(rows["target_label"] != normal_class, np.bool_)
    return Side(
        outlier, np.asarray(rows["outlier_score"], np.float64), rows["split_group"].to_numpy()
    )
