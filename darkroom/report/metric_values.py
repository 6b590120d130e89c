"""The metrics that train and evaluate wrote, with intervals and what they mean in words."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from darkroom.report.formatting import words

# what a metric is, in words; one that is not listed shows its own name
MEANINGS = {
    "auc": ("AUC", "chance that a positive image scores above a negative one"),
    "partial_auc": ("partial AUC", "of the strict end of the curve; 0.5 is chance, 1 perfect"),
    "emd_r1": ("EMD, r = 1", "mean |ΔCDF| of the score histograms; lower is better"),
    "emd_r2": ("EMD, r = 2", "root of the mean ΔCDF²; lower is better"),
    "srcc": ("rank correlation", "Spearman, predicted against target mean"),
    "plcc": ("linear correlation", "Pearson, predicted against target mean"),
    "rmse": ("RMSE", "of the mean score, in its units; lower is better"),
    "std_srcc": ("rank correlation of the spread", "Spearman, how far an image's ratings differ"),
    "std_plcc": ("linear correlation of the spread", "Pearson, how far an image's ratings differ"),
    "accuracy": ("accuracy", "share decided rightly"),
    "balanced_accuracy": ("balanced accuracy", "mean of the classes' sensitivities"),
    "sensitivity": ("sensitivity", "share of positives found"),
    "specificity": ("specificity", "share of negatives left alone"),
    "ppv": ("positive predictive value", "share of the called that are positive"),
    "npv": ("negative predictive value", "share of the not called that are negative"),
    "f1": ("F1", "harmonic mean of sensitivity and positive predictive value"),
    "brier": ("Brier score", "mean squared error of the probability; lower is better"),
    "calibration_error": ("calibration error", "mean gap between predicted and observed share"),
    "bias": ("bias", "mean of predicted minus target"),
    "mae": ("mean absolute error", "of the mean score, in its units; lower is better"),
}


class Metric(NamedTuple):
    """A number with its interval; `low` and `high` are None where there is none."""

    name: str
    meaning: str
    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    note: str = ""


def _walk(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield path and contents of each metric (a mapping with `value`) and scalar of a tree."""
    for key, inner in tree.items():
        here = (*path, class_name(key))
        if isinstance(inner, Mapping) and "value" not in inner:
            yield from _walk(inner, here)
        else:
            yield here, inner


def list_metrics(tree: Mapping[str, Any]) -> list[Metric]:
    """Return every metric in a metrics tree, known ones first."""
    metrics = [_metric(path, inner) for path, inner in _walk(tree) if isinstance(inner, Mapping)]
    order = {name: position for position, (name, _) in enumerate(MEANINGS.values())}
    return sorted(metrics, key=lambda m: (order.get(m.name, len(order)), m.name.lower()))


def _metric(path: tuple[str, ...], tree: Mapping[str, Any]) -> Metric:
    ends: Mapping[str, Any] = next((v for k, v in tree.items() if k.startswith("ci")), {})
    name, meaning = MEANINGS.get(path[-1], (words(path[-1]), ""))
    name = " · ".join([*map(words, path[:-1]), name])
    return Metric(
        name, meaning, _finite(tree["value"]), _finite(ends.get("low")), _finite(ends.get("high")),
        str(tree.get("method") or ""), _note(tree),
    )  # fmt: skip


def _note(tree: Mapping[str, Any]) -> str:
    """Return what is to be known of a metric besides its value: of what, how far, or why."""
    notes = [tree.get("note"), tree.get("average")]
    if "of" in tree:
        notes.insert(0, f"of the probability of {tree['of']}")
    if "below" in tree:
        notes.append(f"up to a false positive rate of {tree['below']:g}")
    return "; ".join(str(text) for text in notes if text)


def list_scalars(tree: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the scalars of a metrics tree that belong to no metric, by their path in words."""
    return [
        (" · ".join(map(words, path)), inner)
        for path, inner in _walk(tree)
        if inner is not None and not isinstance(inner, Mapping) and path[-1] != "note"
    ]


def list_notes(tree: Mapping[str, Any]) -> list[str]:
    """Return every note that belongs to no single metric, each once, in order."""
    notes = (text for path, text in _walk(tree) if path[-1] == "note" and isinstance(text, str))
    return list(dict.fromkeys(notes))


def class_name(key: str) -> str:
    """Return the class that a key of metrics means: evaluate escapes dots, which DVC joins by."""
    return key.replace("%2E", ".").replace("%25", "%")


def value_of(metrics: Mapping[str, Any], name: str) -> Any:
    """Return the value of one metric in a metrics tree, None where it has none."""
    return metrics.get(name, {}).get("value")


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
