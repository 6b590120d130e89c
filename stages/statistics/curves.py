"""What is drawn of a model's predictions: small tables, one per plot.

Keys are digests, so that the first rows by key are a random sample that never changes; large test
splits are drawn by such a sample.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.statistics.roc import Flags, roc_curve

Reals = NDArray[np.float64]

MOST_ROWS = 2000  # of a plot: more cannot be told apart, and git keeps each version
MOST_CORNERS = 500  # of one curve
CALIBRATION_BINS = 10

ROC = ["class", "false_positive_rate", "true_positive_rate", "threshold"]
PREDICTIONS = ["target_mean", "predicted_mean"]
CONFUSION = ["target_label", "predicted_label"]
CALIBRATION = ["class", "predicted", "observed", "n"]
PLOTS = {
    "roc": ROC, "predictions": PREDICTIONS, "confusion": CONFUSION, "calibration": CALIBRATION,
}  # fmt: skip


def roc_rows(name: str, positive: Flags, score: Reals) -> pd.DataFrame:
    """Return the corners of one curve, evenly thinned; no rows where a class is missing.

    The first threshold, infinite, is null: a plot has no place for it.
    """
    curve = roc_curve(positive, score)
    if curve is None:
        return pd.DataFrame(columns=ROC)
    corners = len(curve.threshold)
    kept = np.unique(np.linspace(0, corners - 1, min(corners, MOST_CORNERS)).round().astype(int))
    threshold = np.where(np.isfinite(curve.threshold), curve.threshold, np.nan)
    rates = curve.false_positive_rate[kept], curve.true_positive_rate[kept]
    return pd.DataFrame(dict(zip(ROC, [name, *rates, threshold[kept]], strict=True)))


def calibration_rows(name: str, predicted: Reals, observed: Reals) -> pd.DataFrame:
    """Return mean prediction and mean truth in bins of about equally many images.

    Equal predictions share a bin, so that there may be fewer than `CALIBRATION_BINS`.

    >>> calibration_rows("a", np.array([0.1, 0.1, 0.9]), np.array([0.0, 0.0, 1.0]))
      class  predicted  observed  n
    0     a        0.1       0.0  2
    1     a        0.9       1.0  1
    """
    if not predicted.size:
        return pd.DataFrame(columns=CALIBRATION)
    edges = np.unique(
        np.quantile(predicted, np.linspace(0, 1, CALIBRATION_BINS + 1), method="lower")
    )
    bins = np.searchsorted(edges, predicted, side="right")
    rows = pd.DataFrame({"bin": bins, "predicted": predicted, "observed": observed})
    means = rows.groupby("bin").agg(
        predicted=("predicted", "mean"), observed=("observed", "mean"), n=("observed", "size")
    )
    return means.reset_index(drop=True).assign(**{"class": name})[CALIBRATION]


def sample_rows(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of the first `MOST_ROWS` rows by key."""
    return rows.sort_values("key").head(MOST_ROWS)[list(columns)].reset_index(drop=True)


def join_rows(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Return the parts below each other; none give the columns alone."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))
