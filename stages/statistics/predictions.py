"""The prediction table: one row per labelled image of validation and test."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.params import Scale
from stages.models.targets import bin_scores, from_ratings

Outputs = NDArray[np.float32]  # (n, bins or classes), rows sum to 1

Reals = NDArray[np.float64]

KEYS = ["key", "split", "split_group"]
TEXTS = {*KEYS, "target_label", "predicted_label"}


def choose_rows(labels: pd.DataFrame, splits: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the labelled images of validation and test, by key, with their split group."""
    held_out = splits[splits["split"].isin(["validation", "test"])][KEYS]
    rows = labels[["key", "label", "ratings", "mean", "std"]].merge(held_out, on="key")
    rated = rows["ratings"].notna() | rows["mean"].notna()
    labelled = rated if task == "rating" else rows["label"].notna()
    return rows[labelled].sort_values("key", ignore_index=True)


def rating_predictions(rows: pd.DataFrame, outputs: Outputs, scale: Scale) -> pd.DataFrame:
    """Return one prediction row per image; `outputs` (n, bins) are shares of votes.

    Target bins, and the mean and spread that they have, come from counted votes; where a mean alone
    is known the target bins are null, and the spread too unless it was given.
    """
    scores, predicted = bin_scores(scale), outputs.astype(np.float64)  # (bins,), (n, bins)
    target = np.full(predicted.shape, np.nan)
    counted = rows["ratings"].notna().to_numpy(bool)
    target[counted] = from_ratings(list(rows["ratings"][counted]), scale)
    means, stds = (rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("mean", "std"))
    mean = predicted @ scores
    centre = target @ scores
    table = {
        "target_mean": np.where(counted, centre, means),
        "predicted_mean": mean,
        "target_std": np.where(counted, _spread(target, centre, scores), stds),
        "predicted_std": _spread(predicted, mean, scores),
    }
    for name, bins in (("bin", predicted), ("target_bin", target)):
        table |= {f"{name}_{k}": bins[:, k - 1] for k in range(1, scale.bins + 1)}
    return pd.concat([rows[KEYS], pd.DataFrame(table, rows.index)], axis=1)


def _spread(shares: Reals, means: Reals, scores: Reals) -> Reals:
    """Return the standard deviation (n,) of shares (n, bins) around their means (n,)."""
    return np.asarray(np.sqrt((shares * (scores - means[:, None]) ** 2).sum(axis=1)))


def class_predictions(
    rows: pd.DataFrame, outputs: Outputs, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Return one prediction row per image; `outputs` (n, classes) are probabilities."""
    names = np.array(classes, dtype=object)
    table = {"target_label": rows["label"], "predicted_label": names[outputs.argmax(axis=1)]}
    for position, name in enumerate(classes):
        table[f"probability_{name}"] = outputs[:, position].astype(np.float64)
    return pd.concat([rows[KEYS], pd.DataFrame(table, rows.index)], axis=1)


def outlier_predictions(rows: pd.DataFrame, scores: NDArray[np.float64]) -> pd.DataFrame:
    """Return one prediction row per image; `scores` (n, 1) are higher where more outlying."""
    table = {"target_label": rows["label"], "outlier_score": scores.reshape(-1)}
    return pd.concat([rows[KEYS], pd.DataFrame(table, rows.index)], axis=1)


def schema_of(predictions: pd.DataFrame) -> pa.Schema:
    """Return the schema of a prediction table: keys and labels are text, the rest float64."""
    names = predictions.columns
    return pa.schema([(name, pa.string() if name in TEXTS else pa.float64()) for name in names])
