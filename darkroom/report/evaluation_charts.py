"""Charts of what evaluate measured: curves with bands, operating points, calibration, scores.

Operating points carry the numbers that they have in their table, so that no two colours have to be
distinguished.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from darkroom.report import charts
from darkroom.report.charts import FIFTHS, Axis, Chart, Points
from darkroom.report.histograms import count

SQUARE = 400, 380  # px of a chart whose axes are equal
WIDE = 440, 300
PREVALENCES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # ticks
SCORE_BINS = 30
TAILS = 0.01  # share of the scores at either end that the last bins take in
MERGE_DISTANCE = 0.02  # operating points closer than this on the curve share one dot

Interval = tuple[float, float, float]  # where, low, high


class OperatingPoint(NamedTuple):
    """An operating point: its number in the table, of points in one place all of theirs."""

    number: str
    x: float
    y: float


def roc_chart(
    curves: Mapping[str, Points],
    band: Sequence[Interval] = (),
    operating_points: Sequence[OperatingPoint] = (),
) -> Markup:
    """Draw sensitivity over 1 - specificity, both in [0, 1], one curve per class, and chance.

    `band` holds (false positive rate, low, high) of a single curve. A screen reader says where each
    operating point lies.
    """
    spoken = [f"; point {number}: sensitivity {y:.2f}, specificity {1 - x:.2f}"
              for number, x, y in operating_points]  # fmt: skip
    chart = Chart(Axis("1 − specificity", 0, 1, FIFTHS), Axis("sensitivity", 0, 1, FIFTHS),
                  "ROC curve" + "".join(spoken), *SQUARE)  # fmt: skip
    if len(curves) == 1:
        chart.band([(x, low) for x, low, _ in band], [(x, high) for x, _, high in band], "fill")
    chart.curve([(0, 0), (1, 1)], "chance")
    for style, points in zip(charts.curve_styles(len(curves)), curves.values(), strict=True):
        chart.curve(points, style)
    for text, x, y in merge_labels(operating_points):
        chart.dots([(x, y)], "operating", 5)
        chart.tag(x, y, text)
    return chart.svg()


def merge_labels(
    points: Sequence[OperatingPoint], distance: float = MERGE_DISTANCE
) -> list[OperatingPoint]:
    """Return one point for all the points that are nearer than this to each other.

    >>> merge_labels([OperatingPoint("1", 0.1, 0.8), OperatingPoint("2", 0.1, 0.8)])
    [OperatingPoint(number='1, 2', x=0.1, y=0.8)]
    """
    labels: list[OperatingPoint] = []
    for point in points:
        near = (i for i, at in enumerate(labels) if math.dist(at[1:], point[1:]) < distance)
        index = next(near, None)
        if index is None:
            labels.append(point)
        else:
            both = f"{labels[index].number}, {point.number}"
            labels[index] = labels[index]._replace(number=both)
    return labels


def prevalence_chart(
    predictive_values: Sequence[tuple[Points, Sequence[Interval]]],
    test_prevalence: float | None, deployment_prevalence: float | None, name: str,
) -> Markup:  # fmt: skip
    """Draw PPV and NPV, curves in [0, 1] with intervals, over the log-odds of prevalence."""
    ticks = tuple(map(_log_odds, PREVALENCES))
    labels = tuple(f"{100 * share:g} %" for share in PREVALENCES)
    x_axis = Axis("prevalence", ticks[0], ticks[-1], ticks, labels)
    title = f"Predictive values over prevalence, {name}"
    chart = Chart(x_axis, Axis("predictive value", 0, 1, FIFTHS), title, *WIDE)
    for prevalence, style in ((test_prevalence, "chance"), (deployment_prevalence, "limit")):
        if prevalence is not None and PREVALENCES[0] <= prevalence <= PREVALENCES[-1]:
            chart.vertical_line(_log_odds(prevalence), style)
    for style, (points, band) in zip(("first", "second"), predictive_values, strict=True):
        lower = [(_log_odds(x), low) for x, low, _ in band]
        upper = [(_log_odds(x), high) for x, _, high in band]
        chart.band(lower, upper, f"spread {style}")
        chart.curve([(_log_odds(x), y) for x, y in points], style)
    return chart.svg()


def calibration_chart(
    curves: Mapping[str, Points], intervals: Sequence[Interval], low: float, high: float
) -> Markup:
    """Draw what was observed over what was predicted, in bins, and the line of equality.

    `intervals` hold (predicted, low, high) of a single curve.
    """
    ticks = charts.scale_ticks(low, high)
    chart = Chart(Axis("predicted", low, high, ticks), Axis("observed", low, high, ticks),
                    "Observed against predicted", *SQUARE)  # fmt: skip
    chart.curve([(low, low), (high, high)], "equal")
    if len(curves) == 1:
        for at, least, most in intervals:
            chart.error_bar(at, max(least, low), min(most, high), "whisker")
    for style, points in zip(charts.curve_styles(len(curves)), curves.values(), strict=True):
        chart.curve(points, style)
        if len(curves) == 1:
            chart.dots(points, "operating", 4)
    return chart.svg()


def scatter_chart(points: Points, low: float, high: float, cutoff: float) -> Markup:
    """Draw predicted over target on equal axes, the line of equality, and the cutoff on both."""
    ticks = charts.scale_ticks(low, high)
    chart = Chart(Axis("target", low, high, ticks), Axis("predicted", low, high, ticks),
                    "Predicted against target", *SQUARE)  # fmt: skip
    chart.vertical_line(cutoff, "chance")
    chart.horizontal_line(cutoff, "chance")
    chart.curve([(low, low), (high, high)], "equal")
    inside = [(x, min(max(y, low), high)) for x, y in points]
    chart.dots(inside, "dot", 3 if len(points) < 400 else 2)
    return chart.svg()


def bias_chart(points: Points, intervals: Sequence[Interval], low: float, high: float) -> Markup:
    """Draw the mean error of each range of true scores, at its middle, around the line of none."""
    ends = [end for _, *both in intervals for end in both]
    y_axis = charts.linear_axis("predicted − target", [0.0, *(y for _, y in points), *ends])
    chart = Chart(Axis("true mean score", low, high, charts.scale_ticks(low, high)), y_axis,
                    "Bias by range of the true mean score", *WIDE)  # fmt: skip
    chart.horizontal_line(0, "equal")
    for at, least, most in intervals:
        chart.error_bar(at, least, most, "whisker")
    chart.dots(points, "operating", 5)
    return chart.svg()


def scores_chart(
    normal: ArrayLike, outliers: ArrayLike, thresholds: Sequence[tuple[int, float]]
) -> Markup:
    """Draw how the outlier scores of normal images and of outliers lie, each as shares of its own.

    A score far beyond the others would press them all into one bin: the last bins take in the
    outermost scores. `thresholds` are drawn with the numbers of their operating points.
    """
    sides = [np.asarray(side, np.float64) for side in (normal, outliers)]
    every = np.concatenate(sides)
    low, high = np.quantile(every, [TAILS, 1 - TAILS])
    inside = [value for _, value in thresholds if every.min() <= value <= every.max()]
    x_axis = charts.linear_axis("outlier score", [float(low), float(high), *inside])
    counted = [count(side, x_axis.low, x_axis.high, SCORE_BINS) for side in sides]
    shares = [[held / max(bins.total, 1) for held in bins.counts] for bins in counted]
    y_axis = charts.linear_axis("% of the images", [0.0, 100 * max(map(max, shares))])
    chart = Chart(x_axis, y_axis, "Outlier scores of normal images and of outliers", *WIDE)
    for style, heights in zip(("second", "first"), shares, strict=True):
        steps: list[tuple[float, float]] = []
        for ends, height in zip(pairwise(counted[0].edges), heights, strict=True):
            steps += [(end, 100 * height) for end in ends]
        chart.area(steps, f"spread {style}")
        chart.curve(steps, style)
    points = [OperatingPoint(str(number), value, 0) for number, value in thresholds
              if x_axis.low <= value <= x_axis.high]  # fmt: skip
    for point in points:
        chart.vertical_line(point.x, "chance")
    for text, x, _ in merge_labels(points, (x_axis.high - x_axis.low) / 25):
        chart.note(x, y_axis.high, text, "middle")
    return chart.svg()


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))
