"""Tables of metrics that stand side by side: operating points, classes, ranges of the scale.

The page and the model card show the same tables, so that their cells are text, not yet escaped.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from darkroom.report.formatting import interval, percent, three_decimals, words
from darkroom.report.metric_values import class_name, list_metrics, value_of

Tree = Mapping[str, Any]  # metrics/evaluate.json, or a part of it

POINTS = {
    "closest_to_corner": "closest to the corner", "youden": "Youden's index",
    "least_cost": "least cost",
}  # fmt: skip
POINT_COLUMNS = {
    "sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV",
    "accuracy": "Accuracy",
}  # fmt: skip
CLASS_COLUMNS = {"auc": "AUC", "sensitivity": "Sensitivity", "ppv": "PPV", "f1": "F1"}
RANGE_COLUMNS = {
    "rmse": "RMSE", "bias": "Bias", "mae": "Absolute error", "srcc": "Rank correlation",
}  # fmt: skip
MAX_ROWS = 40  # of classes; of more, those that the model predicts worst


class Cell(NamedTuple):
    """A metric as text, its interval, and why one of them is absent."""

    value: str
    interval: str = ""
    note: str = ""


class TableRow(NamedTuple):
    """An operating point, class or range: its name, how it was chosen, and its metrics."""

    name: str
    detail: str
    cells: tuple[Cell, ...]


class MetricTable(NamedTuple):
    """A table: what the first column holds, the others' titles, rows, and how it was measured."""

    row_title: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    methods: tuple[str, ...]
    more: int = 0  # rows that are not shown


def operating_points(tree: Tree) -> MetricTable:
    """Return each operating point, in the order of its number on the curves."""
    titles = {"threshold": "Threshold", **POINT_COLUMNS}
    rows = []
    for number, (name, point) in enumerate(ordered_points(tree).items(), 1):
        at_prevalence = point.get("at_prevalence", {})
        prevalence = at_prevalence.get("prevalence")
        for key in ("ppv", "npv") if prevalence is not None else ():
            titles[f"{key}_at"] = f"{key.upper()} at {percent(prevalence)}"
        values = {f"{key}_at": at_prevalence.get(key) for key in ("ppv", "npv")}
        row_name, detail = f"{number}. {point_name(name)}", str(point.get("chosen_by", ""))
        rows.append((row_name, detail, {**point, **values}))
    return _table("Operating point", titles, rows)


def ordered_points(tree: Tree) -> dict[str, Tree]:
    """Return the operating points of a metrics tree: those with a name of their own first."""
    points = {class_name(key): point for key, point in tree.get("operating_points", {}).items()}
    order = [*(key for key in POINTS if key in points), *sorted(points.keys() - POINTS.keys())]
    return {key: points[key] for key in order}


def point_name(key: str) -> str:
    """Return an operating point in words.

    >>> point_name("specificity_90"), point_name("youden")
    ('specificity 90 %', "Youden's index")
    """
    if key.startswith("specificity_"):
        return f"specificity {key.removeprefix('specificity_')} %"
    return POINTS.get(key, words(key))


def classes(tree: Tree) -> MetricTable:
    """Return a row per class; of very many, those with the lowest F1."""
    named = [(class_name(key), "", metrics) for key, metrics in tree.get("classes", {}).items()]
    shown = named
    if len(named) > MAX_ROWS:
        f1 = {name: value_of(metrics, "f1") for name, _, metrics in named}
        shown = sorted(named, key=lambda row: (f1[row[0]] is not None, f1[row[0]], row[0]))
        shown = shown[:MAX_ROWS]
    table = _table("Class", {"n": "Images", **CLASS_COLUMNS}, shown)
    return table._replace(more=len(named) - len(shown))


def ranges(tree: Tree) -> MetricTable:
    """Return a row per range of the true mean score, from low to high."""
    named = [(range_name(low, high), "", metrics) for low, high, metrics in ordered_ranges(tree)]
    return _table("True mean score", {"n": "Images", **RANGE_COLUMNS}, named)


def range_name(low: float, high: float) -> str:
    """Return a range of scores as people write it.

    >>> range_name(-1, 1 / 3)
    '−1 to 0.333'
    """
    return f"{low:.3g} to {high:.3g}".replace("-", "−")


def ordered_ranges(tree: Tree) -> list[tuple[float, float, Tree]]:
    """Return the ends and the metrics of each range of scores, from low to high."""
    rows = []
    for key, metrics in tree.get("ranges", {}).items():
        low, _, high = class_name(key).partition("_to_")
        rows.append((float(low), float(high), metrics))
    return sorted(rows, key=lambda item: item[:2])


def _table(
    row_title: str, titles: Mapping[str, str], named: Sequence[tuple[str, str, Tree]]
) -> MetricTable:
    """Return the table of those columns that any row has."""
    present = [key for key in titles if any(metrics.get(key) is not None for *_, metrics in named)]
    rows = tuple(
        TableRow(name, detail, tuple(_cell(metrics.get(key)) for key in present))
        for name, detail, metrics in named
    )
    methods: dict[str, list[str]] = {}
    for key in present:
        for *_, metrics in named:
            tree = metrics.get(key)
            method = tree.get("method") if isinstance(tree, Mapping) else None
            if method and titles[key] not in methods.setdefault(str(method), []):
                methods[str(method)].append(titles[key])
    by_method = tuple(f"{', '.join(columns)}: {method}" for method, columns in methods.items())
    return MetricTable(row_title, tuple(titles[key] for key in present), rows, by_method)


def _cell(tree: Any) -> Cell:
    if not isinstance(tree, Mapping):
        return Cell(f"{tree:,}" if isinstance(tree, int) else three_decimals(tree))
    (metric,) = list_metrics({"": tree})
    return Cell(three_decimals(metric.value), interval(metric.low, metric.high), metric.note)
