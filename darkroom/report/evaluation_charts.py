"""Drawings of what evaluate found: curves with bands, operating points, calibration, scores.

Operating points carry the numbers that they have in their table, so that no colour has to be told
from another.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from darkroom.report.charts import FIFTHS, Axis, Canvas, Points, axis, scale_ticks, styles
from darkroom.report.histograms import count

SQUARE = 400, 380  # px of a chart whose axes are equal
WIDE = 440, 300
PREVALENCES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # ticks
SCORE_BINS = 30
TAILS = 0.01  # share of the scores at either end that the last bins take in
NEAR = 0.02  # operating points closer than this on the curve share one dot

Interval = tuple[float, float, float]  # where, low, high


class Mark(NamedTuple):
    """An operating point: its number in the table, and where it lies on a curve."""

    number: int
    x: float
    y: float


def roc_chart(
    curves: Mapping[str, Points], band: Sequence[Interval] = (), marks: Sequence[Mark] = ()
) -> Markup:
    """Draw sensitivity over 1 - specificity, both in [0, 1], one curve per class, and chance.

    `band` holds (false positive rate, low, high) of a single curve.
    """
    canvas = Canvas(
        Axis("1 − specificity", 0, 1, FIFTHS), Axis("sensitivity", 0, 1, FIFTHS),
        _read_out("ROC curve", marks), *SQUARE,
    )  # fmt: skip
    if len(curves) == 1:
        canvas.band([(x, low) for x, low, _ in band], [(x, high) for x, _, high in band], "fill")
    canvas.curve([(0, 0), (1, 1)], "chance")
    for style, points in zip(styles(len(curves)), curves.values(), strict=True):
        canvas.curve(points, style)
    for place in joined(marks):
        canvas.dots([(place.x, place.y)], "operating", 5)
        canvas.tag(place.x, place.y, place.text)
    return canvas.svg()


class Place(NamedTuple):
    """Operating points that lie in the same place on the drawing."""

    x: float
    y: float
    text: str


def joined(marks: Sequence[Mark], near: float = NEAR) -> list[Place]:
    """Return one place for all the marks that are nearer than this to each other.

    >>> joined([Mark(1, 0.1, 0.8), Mark(2, 0.1, 0.8), Mark(3, 0.5, 0.9)])
    [Place(x=0.1, y=0.8, text='1, 2'), Place(x=0.5, y=0.9, text='3')]
    """
    places: list[Place] = []
    for mark in marks:
        at = (mark.x, mark.y)
        found = next((i for i, p in enumerate(places) if math.dist((p.x, p.y), at) < near), None)
        if found is None:
            places.append(Place(*at, str(mark.number)))
        else:
            text = f"{places[found].text}, {mark.number}"
            places[found] = places[found]._replace(text=text)
    return places


def _read_out(title: str, marks: Sequence[Mark]) -> str:
    """Return what a screen reader says: where each operating point lies."""
    said = [f"point {m.number}: sensitivity {m.y:.2f}, specificity {1 - m.x:.2f}" for m in marks]
    return "; ".join([title, *said])


class Values(NamedTuple):
    """A predictive value over prevalence: curve and interval."""

    points: Points
    band: Sequence[Interval]


def prevalence_chart(
    ppv: Values, npv: Values, at: float | None, wanted: float | None, name: str
) -> Markup:
    """Draw PPV and NPV in [0, 1] over the log-odds of prevalence.

    `at` is the test split's own prevalence (dashed), `wanted` that of deployment (drawn through).
    """
    ticks = tuple(map(_log_odds, PREVALENCES))
    labels = tuple(f"{100 * share:g} %" for share in PREVALENCES)
    canvas = Canvas(
        Axis("prevalence", ticks[0], ticks[-1], ticks, labels),
        Axis("predictive value", 0, 1, FIFTHS),
        f"Predictive values over prevalence, {name}", *WIDE,
    )  # fmt: skip
    for place, style in ((at, "chance"), (wanted, "limit")):
        if place is not None and PREVALENCES[0] <= place <= PREVALENCES[-1]:
            canvas.upright(_log_odds(place), style)
    for style, values in (("first", ppv), ("second", npv)):
        lower = [(_log_odds(x), low) for x, low, _ in values.band]
        upper = [(_log_odds(x), high) for x, _, high in values.band]
        canvas.band(lower, upper, f"spread {style}")
        canvas.curve([(_log_odds(x), y) for x, y in values.points], style)
    return canvas.svg()


def calibration_chart(
    curves: Mapping[str, Points], intervals: Sequence[Interval], low: float, high: float
) -> Markup:
    """Draw what was observed over what was predicted, in bins, and the line of equality.

    `intervals` hold (predicted, low, high) of a single curve.
    """
    ticks = scale_ticks(low, high)
    canvas = Canvas(Axis("predicted", low, high, ticks), Axis("observed", low, high, ticks),
                    "Observed against predicted", *SQUARE)  # fmt: skip
    canvas.curve([(low, low), (high, high)], "equal")
    if len(curves) == 1:
        for at, least, most in intervals:
            canvas.whisker(at, max(least, low), min(most, high), "whisker")
    for style, points in zip(styles(len(curves)), curves.values(), strict=True):
        canvas.curve(points, style)
        if len(curves) == 1:
            canvas.dots(points, "operating", 4)
    return canvas.svg()


def scatter_chart(points: Points, low: float, high: float, cutoff: float) -> Markup:
    """Draw predicted over target on equal axes, the line of equality, and the cutoff on both."""
    ticks = scale_ticks(low, high)
    canvas = Canvas(Axis("target", low, high, ticks), Axis("predicted", low, high, ticks),
                    "Predicted against target", *SQUARE)  # fmt: skip
    canvas.upright(cutoff, "chance")
    canvas.level(cutoff, "chance")
    canvas.curve([(low, low), (high, high)], "equal")
    inside = [(x, min(max(y, low), high)) for x, y in points]
    canvas.dots(inside, "dot", 3 if len(points) < 400 else 2)
    return canvas.svg()


def bias_chart(points: Points, intervals: Sequence[Interval], low: float, high: float) -> Markup:
    """Draw the mean error of each range of true scores, at its middle, around the line of none."""
    ends = [end for _, *both in intervals for end in both]
    up = axis("predicted − target", [0.0, *(y for _, y in points), *ends])
    canvas = Canvas(Axis("true mean score", low, high, scale_ticks(low, high)), up,
                    "Bias by range of the true mean score", *WIDE)  # fmt: skip
    canvas.level(0, "equal")
    for at, least, most in intervals:
        canvas.whisker(at, least, most, "whisker")
    canvas.dots(points, "operating", 5)
    return canvas.svg()


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
    across = axis("outlier score", [float(low), float(high), *inside])
    counted = [count(side, across.low, across.high, SCORE_BINS) for side in sides]
    shares = [[held / max(bins.total, 1) for held in bins.counts] for bins in counted]
    up = axis("% of the images", [0.0, 100 * max(map(max, shares))])
    canvas = Canvas(across, up, "Outlier scores of normal images and of outliers", *WIDE)
    for style, heights in zip(("second", "first"), shares, strict=True):
        steps: list[tuple[float, float]] = []
        for left, right, height in zip(
            counted[0].edges, counted[0].edges[1:], heights, strict=False
        ):
            steps += [(left, 100 * height), (right, 100 * height)]
        canvas.area(steps, f"spread {style}")
        canvas.curve(steps, style)
    marks = [Mark(n, value, 0) for n, value in thresholds if across.low <= value <= across.high]
    for mark in marks:
        canvas.upright(mark.x, "chance")
    for place in joined(marks, (across.high - across.low) / 25):
        canvas.note(place.x, up.high, place.text, "middle")
    return canvas.svg()


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))
