"""What train and evaluate found, as the page shows it: measures with intervals, curves, matrix."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

# what a measure is, in words; one that is not listed shows its own name
MEANINGS = {
    "auc": ("AUC", "chance that a good image scores above a bad one"),
    "partial_auc": ("partial AUC", "AUC of the corner of high specificity, McClish's scale"),
    "emd_r1": ("EMD, r = 1", "mean |ΔCDF| of the score histograms; lower is better"),
    "emd_r2": ("EMD, r = 2", "root of the mean ΔCDF²; lower is better"),
    "srcc": ("rank correlation", "Spearman, predicted against target mean"),
    "plcc": ("linear correlation", "Pearson, predicted against target mean"),
    "rmse": ("RMSE", "of the mean score, in its units; lower is better"),
    "mae": ("mean error", "of the mean score, in its units; lower is better"),
    "accuracy": ("accuracy", "share decided rightly"),
    "balanced_accuracy": ("balanced accuracy", "mean of the classes' shares"),
    "sensitivity": ("sensitivity", "share of positives found"),
    "specificity": ("specificity", "share of negatives left alone"),
    "precision": ("precision", "share of the found that are positive"),
    "brier": ("Brier score", "mean squared error of the probability; lower is better"),
    "log_loss": ("log loss", "lower is better"),
}


class Measure(NamedTuple):
    """A number with its interval; `low` and `high` are None where there is none."""

    name: str
    meaning: str
    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    note: str = ""


class Matrix(NamedTuple):
    """How often each target class (row) was predicted as each class (column)."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def most(self) -> int:
        """Return the largest cell, which is drawn darkest."""
        return max((count for row in self.counts for count in row), default=0)


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return `metrics/<stage>.json` of every stage that wrote one, by stage."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def measures(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Measure]:
    """Return every measure (a mapping with `value`) in a metrics tree, known ones first."""
    found = []
    for key, inner in tree.items():
        if isinstance(inner, Mapping):
            here = (*path, key)
            if "value" in inner:
                found.append(_measure(here, inner))
            found += measures(inner, here)
    return sorted(found, key=lambda m: m.name.lower()) if path else _known_first(found)


def _known_first(found: list[Measure]) -> list[Measure]:
    order = {name: position for position, (name, _) in enumerate(MEANINGS.values())}
    return sorted(found, key=lambda m: (order.get(m.name, len(order)), m.name.lower()))


def _measure(path: tuple[str, ...], tree: Mapping[str, Any]) -> Measure:
    found = [inner for key, inner in tree.items() if key.startswith("ci")]
    interval: Mapping[str, Any] = next((inner for inner in found if inner), {})
    texts = {**interval, **tree}
    name, meaning = MEANINGS.get(path[-1], (" · ".join(path).replace("_", " "), ""))
    if len(path) > 1 and path[-1] in MEANINGS:
        name = f"{' · '.join(path[:-1]).replace('_', ' ')} · {name}"
    return Measure(
        name, meaning, _real(tree["value"]),
        _real(interval.get("low")), _real(interval.get("high")),
        str(texts.get("method") or ""), str(texts.get("note") or texts.get("warning") or ""),
    )  # fmt: skip


def facts(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    """Return the scalars of a metrics tree that belong to no measure, by their path in words."""
    found = []
    for key, inner in tree.items():
        if isinstance(inner, Mapping):
            found += [] if "value" in inner else facts(inner, (*path, key))
        elif inner is not None:
            found.append((" · ".join((*path, key)).replace("_", " "), inner))
    return found


def warnings(tree: Mapping[str, Any]) -> list[str]:
    """Return every text below a key that names a warning, each once, in order."""
    found = []
    for key, inner in tree.items():
        if isinstance(inner, Mapping):
            found += warnings(inner)
        elif isinstance(inner, str) and inner and "warning" in key:
            found.append(inner)
    return list(dict.fromkeys(found))


def read_plot(path: Path) -> pd.DataFrame:
    """Return a plot's data; an empty frame where the stage had nothing to plot."""
    if not path.exists() or not path.stat().st_size:
        return pd.DataFrame()
    return pd.read_csv(path)


def points(frame: pd.DataFrame, x: str, y: str) -> list[tuple[float, float]]:
    """Return two columns as points, without the rows that lack either; none if a column does."""
    if not {x, y} <= set(frame.columns):
        return []
    rows = frame[[x, y]].astype(float).itertuples(index=False)
    return [(a, b) for a, b in rows if math.isfinite(a) and math.isfinite(b)]


def confusion(predictions: pd.DataFrame) -> Matrix | None:
    """Return the confusion matrix, None where no class was predicted."""
    if not {"target_label", "predicted_label"} <= set(predictions.columns) or predictions.empty:
        return None
    both = predictions[["target_label", "predicted_label"]].dropna()
    classes = sorted({*both["target_label"], *both["predicted_label"]})
    cells = both.value_counts().to_dict()
    counts = tuple(tuple(int(cells.get((t, p), 0)) for p in classes) for t in classes)
    return Matrix(tuple(classes), counts) if classes else None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
