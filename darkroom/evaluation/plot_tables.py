"""What is drawn of a model's predictions: small tables, one per plot.

Keys are digests, so that the first rows by key are a random sample that never changes; large test
splits are drawn by such a sample.
"""

from collections.abc import Sequence

import pandas as pd

from darkroom.evaluation.binary import PREVALENCE, ROC
from darkroom.evaluation.calibration import CALIBRATION
from darkroom.evaluation.rating import RANGES

MOST_ROWS = 2000  # of a plot: more cannot be told apart, and git keeps each version

PREDICTIONS = ["target_mean", "predicted_mean"]
CONFUSION = ["target_label", "predicted_label"]
PLOTS = {
    "roc": ROC, "prevalence": PREVALENCE, "predictions": PREDICTIONS, "ranges": RANGES,
    "confusion": CONFUSION, "calibration": CALIBRATION,
}  # fmt: skip


def sample_rows(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of the first `MOST_ROWS` rows by key."""
    return rows.sort_values("key").head(MOST_ROWS)[list(columns)].reset_index(drop=True)


def join_rows(parts: Sequence[pd.DataFrame], plot: str) -> pd.DataFrame:
    """Return the parts of a plot below each other; none give its columns alone."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=PLOTS[plot])
