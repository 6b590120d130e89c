"""Numbers counted in bins, and the charts of such counts."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from darkroom.report.charts import Axis, Chart, Points, linear_axis, number, scale_ticks

MAX_TICKS = 8  # of a logarithmic axis; with more of them labels touch
MARGIN = 1.05  # between the outermost values and the ends of a logarithmic axis
SCORE_BINS = 18  # of mean scores
Size = tuple[float, float]
SIZE: Size = (420, 220)  # px of a chart
DOTS = 44  # cells per side in which equal and near sizes are drawn as one dot


class Bins(NamedTuple):
    """How many values lie between each two edges; on a logarithmic axis edges are logarithms."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    logarithmic: bool = False

    @property
    def total(self) -> int:
        """Return how many values were counted."""
        return sum(self.counts)

    def rows(self, name: str) -> pd.DataFrame:
        """Return the middle of each bin as `name`, its `images`, and their `share` of all."""
        middles = [(a + b) / 2 for a, b in pairwise(self.edges)]
        values = [10**middle for middle in middles] if self.logarithmic else middles
        shares = [count / max(self.total, 1) for count in self.counts]
        return pd.DataFrame({name: values, "images": self.counts, "share": shares})


def count(values: ArrayLike, low: float, high: float, bins: int, logarithmic: bool = False) -> Bins:
    """Count values in equal bins over [low, high]; what lies outside falls into the end bins.

    Values, `low` and `high` come in their own units, above 0 where `logarithmic`; null is no value.
    """
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if logarithmic:
        numbers, low, high = np.log10(numbers[numbers > 0]), math.log10(low), math.log10(high)
    indices = ((numbers.clip(low, high) - low) / (high - low) * bins).astype(np.int64)
    counts: NDArray[np.int64] = np.bincount(indices.clip(0, bins - 1), minlength=bins)
    edges = [low + (high - low) * step / bins for step in range(bins + 1)]
    return Bins(tuple(edges), tuple(map(int, counts)), logarithmic)


def log_axis(title: str, low: float, high: float) -> Axis:
    """Return a logarithmic axis over round numbers that hold [low, high], both above 0.

    >>> log_axis("px", 300, 4000).labels
    ('200', '500', '1,000', '2,000', '5,000')
    """
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    for factors in ((1, 2, 5), (1,)):
        steps = [float(f"{f}e{power}") for power in range(first, last + 1) for f in factors]
        inner = [step for step in steps if low < step < high]
        below = max(step for step in steps if step <= low / MARGIN)
        above = min(step for step in steps if step >= high * MARGIN)
        if len(inner) + 2 <= MAX_TICKS:
            break
    steps = [below, *(step for step in inner if below < step < above), above]
    positions = tuple(map(math.log10, steps))
    return Axis(title, positions[0], positions[-1], positions, tuple(map(short_number, steps)))


def short_number(value: float) -> str:
    """Return a tick label that stays short: thousands as they are, millions with an M.

    >>> short_number(2000), short_number(5e6), short_number(0.2)
    ('2,000', '5 M', '0.2')
    """
    if value < 1e5:
        return number(value)
    return f"{number(value / 1e6)} M" if value >= 1e6 else f"{number(value / 1e3)} k"


def bars(
    bins: Bins, x_axis: Axis, title: str, limit: float | None = None, size: Size = SIZE
) -> Markup:
    """Draw the counts over `x_axis`, with a dashed line at `limit` where there is one.

    No bar of an image or more is so low that it cannot be seen.
    """
    y_axis = linear_axis("images", [0.0, float(max([*bins.counts, 1]))], whole=True)
    chart = Chart(x_axis, y_axis, title, *size)
    for (left, right), held in zip(pairwise(bins.edges), bins.counts, strict=True):
        gap = (right - left) * 0.06
        if held:
            chart.bar(left + gap, right - gap, max(held, y_axis.high / 80), "bar")
    if limit is not None and x_axis.low <= limit <= x_axis.high:
        chart.vertical_line(limit, "limit")
    return chart.svg()


def mean_scores_chart(values: ArrayLike, low: float, high: float, cutoff: float | None) -> Markup:
    """Draw how many mean scores lie in each of 18 bins over [low, high], empty ones too."""
    bins = count(values, low, high, SCORE_BINS)
    y_axis = linear_axis("images", [0.0, float(max([*bins.counts, 1]))], whole=True)
    chart = Chart(Axis("mean score", low, high, scale_ticks(low, high)), y_axis,
                  "Images by mean score", *SIZE)  # fmt: skip
    gap = (high - low) / SCORE_BINS * 0.06
    for (left, right), held in zip(pairwise(bins.edges), bins.counts, strict=True):
        chart.bar(left + gap, right - gap, held, "bar")
    if cutoff is not None and low < cutoff < high:
        chart.vertical_line(cutoff, "chance")
    return chart.svg()


def tone_curves(shares: Sequence[Sequence[float]]) -> Markup:
    """Draw the share of pixels per level of red, green and blue, 0 to 255, in per cent.

    The first and last bin may tower above all others (a white background): the curve leaves the
    drawing there, so that the rest can be seen.
    """
    bins = len(shares[0])
    levels = [(index + 0.5) * 256 / bins for index in range(bins)]
    inner = max((share for curve in shares for share in curve[1:-1]), default=0.0)
    top = inner or max((max(curve) for curve in shares), default=0.0)
    ticks = tuple(float(level) for level in range(0, 257, 64))
    chart = Chart(Axis("level", 0, 256, ticks), linear_axis("% of pixels", [0.0, 100 * top]),
                    "Pixels by level of red, green and blue", *SIZE)  # fmt: skip
    for name, curve in zip(("red", "green", "blue"), shares, strict=True):
        heights = [min(100 * share, chart.y.high) for share in curve]
        points: Points = list(zip(levels, heights, strict=True))
        chart.area(points, f"tone {name}")
        chart.curve(points, name)
    return chart.svg()


def count_sizes(width: ArrayLike, height: ArrayLike, axis: Axis) -> pd.DataFrame:
    """Return `width`, `height` and `images` of each cell on a logarithmic grid that holds any.

    A cell's size is the mean of its images': where all are equal, exactly theirs.
    """
    sizes = pd.DataFrame({"width": np.asarray(width, float), "height": np.asarray(height, float)})
    sizes = sizes[(sizes > 0).all(axis=1)]
    cells = np.floor((np.log10(sizes) - axis.low) / (axis.high - axis.low) * DOTS)
    keys = [cells["width"].rename("column"), cells["height"].rename("row")]
    rows = sizes.groupby(keys).agg(
        width=("width", "mean"), height=("height", "mean"), images=("width", "size")
    )
    return rows.reset_index(drop=True)


def size_chart(sizes: pd.DataFrame, axis: Axis) -> Markup:
    """Draw a dot per row of `count_sizes`, its area by the number of images, on log-log axes."""
    chart = Chart(axis, axis._replace(title="height, px"), "Images by width and height",
                  400, 380)  # fmt: skip
    chart.curve([(axis.low, axis.low), (axis.high, axis.high)], "equal")
    most = float(sizes["images"].max()) if len(sizes) else 1.0
    for row in sizes.sort_values("images", ascending=False, kind="stable").itertuples():
        point = (math.log10(row.width), math.log10(row.height))
        chart.dots([point], "dot", 2.5 + 9 * math.sqrt((row.images - 1) / most))
    return chart.svg()
