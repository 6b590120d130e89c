"""Tables of figures that stand side by side: operating points, classes, ranges of the scale.

The page and the model card show the same tables, so that their cells are text, not yet escaped.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from darkroom.report.metric_values import class_name, measures

Tree = Mapping[str, Any]

POINTS = {
    "closest_to_corner": "closest to the corner",
    "youden": "Youden's index",
    "least_cost": "least cost",
}
POINT_COLUMNS = {
    "sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV",
    "accuracy": "Accuracy",
}  # fmt: skip
CLASS_COLUMNS = {"auc": "AUC", "sensitivity": "Sensitivity", "ppv": "PPV", "f1": "F1"}
RANGE_COLUMNS = {
    "rmse": "RMSE",
    "bias": "Bias",
    "mae": "Absolute error",
    "srcc": "Rank correlation",
}
MOST_ROWS = 40  # of classes; of more, those that the model finds worst


class Cell(NamedTuple):
    """A figure as text, its interval, and why one of them is absent."""

    value: str
    interval: str = ""
    note: str = ""


class Row(NamedTuple):
    """One thing that was measured: its name, what is said of it, and its figures."""

    name: str
    detail: str
    cells: tuple[Cell, ...]


class Grid(NamedTuple):
    """A table: what the first column holds, the others' titles, rows, and how it was measured."""

    corner: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    methods: tuple[str, ...]
    more: int = 0  # rows that are not shown


def operating_points(tree: Tree) -> Grid:
    """Return each operating point, in the order of its number on the curves."""
    points = ordered_points(tree)
    named = [
        (f"{number}. {point_name(key)}", str(point.get("chosen_by", "")), point)
        for number, (key, point) in enumerate(points.items(), 1)
    ]
    titles = dict(POINT_COLUMNS)
    lifted = []
    for name, detail, point in named:
        other = point.get("at_prevalence", {})
        at = other.get("prevalence")
        for key in ("ppv", "npv") if at is not None else ():
            titles[f"{key}_at"] = f"{key.upper()} at {percent(at)}"
        lifted.append(
            (name, detail, {**point, **{f"{k}_at": other.get(k) for k in ("ppv", "npv")}})
        )
    return _grid("Operating point", {"threshold": "Threshold", **titles}, lifted)


def ordered_points(tree: Tree) -> dict[str, Tree]:
    """Return the operating points of a metrics tree: those with a name of their own first."""
    points = {class_name(key): point for key, point in tree.get("operating_points", {}).items()}
    known = list(POINTS)
    rank = {key: known.index(key) if key in known else len(known) for key in points}
    return {key: points[key] for key in sorted(points, key=lambda key: (rank[key], key))}


def point_name(key: str) -> str:
    """Return an operating point in words.

    >>> point_name("specificity_90"), point_name("youden")
    ('specificity 90 %', "Youden's index")
    """
    if key.startswith("specificity_"):
        return f"specificity {key.removeprefix('specificity_')} %"
    return POINTS.get(key, key.replace("_", " "))


def classes(tree: Tree) -> Grid:
    """Return a row per class; of very many, those with the lowest F1."""
    named = [(class_name(key), "", figures) for key, figures in tree.get("classes", {}).items()]
    shown = named
    if len(named) > MOST_ROWS:
        worst = sorted(named, key=lambda row: (_value(row[2], "f1"), row[0]))
        shown = worst[:MOST_ROWS]
    grid = _grid("Class", {"n": "Images", **CLASS_COLUMNS}, shown)
    return grid._replace(more=len(named) - len(shown))


def ranges(tree: Tree) -> Grid:
    """Return a row per range of the true mean score, from low to high."""
    named = [(range_name(low, high), "", figures) for low, high, figures in ordered_ranges(tree)]
    return _grid("True mean score", {"n": "Images", **RANGE_COLUMNS}, named)


def range_name(low: float, high: float) -> str:
    """Return a range of scores as people write it.

    >>> range_name(-1, 1 / 3)
    '−1 to 0.333'
    """
    return f"{low:.3g} to {high:.3g}".replace("-", "−")


def ordered_ranges(tree: Tree) -> list[tuple[float, float, Tree]]:
    """Return the ends and the figures of each range of scores, from low to high."""
    found = []
    for key, figures in tree.get("ranges", {}).items():
        low, _, high = class_name(key).partition("_to_")
        found.append((float(low), float(high), figures))
    return sorted(found, key=lambda item: item[:2])


def percent(share: float) -> str:
    """Return a share as people write it.

    >>> percent(0.05), percent(0.0025)
    ('5 %', '0.25 %')
    """
    return f"{100 * share:.6g} %"


def real(value: float | None) -> str:
    """Return a figure with three decimals, a dash for none."""
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def between(low: float | None, high: float | None) -> str:
    """Return an interval, nothing where there is none."""
    return "" if low is None or high is None else f"{real(low)} to {real(high)}"


def _grid(corner: str, titles: Mapping[str, str], named: Sequence[tuple[str, str, Tree]]) -> Grid:
    """Return the table of those columns that any row has."""
    present = [key for key in titles if any(figures.get(key) is not None for *_, figures in named)]
    rows = tuple(
        Row(name, detail, tuple(_cell(figures.get(key)) for key in present))
        for name, detail, figures in named
    )
    methods: dict[str, list[str]] = {}
    for key in present:
        for *_, figures in named:
            tree = figures.get(key)
            method = tree.get("method") if isinstance(tree, Mapping) else None
            if method and titles[key] not in methods.setdefault(str(method), []):
                methods[str(method)].append(titles[key])
    said = tuple(f"{', '.join(columns)}: {method}" for method, columns in methods.items())
    return Grid(corner, tuple(titles[key] for key in present), rows, said)


def _cell(tree: Any) -> Cell:
    if not isinstance(tree, Mapping):
        return Cell(f"{tree:,}" if isinstance(tree, int) else real(tree))
    (measure,) = measures({"": tree})
    interval = between(measure.low, measure.high)
    return Cell(real(measure.value), interval, measure.note)


def _value(figures: Tree, name: str) -> float:
    value = figures.get(name, {}).get("value")
    return float("-inf") if value is None else float(value)
