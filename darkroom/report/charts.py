"""Charts as inline SVG: no script, no font, no date, colours by the page's CSS variables.

Every function takes plain numbers and returns Markup in which all text is escaped. Coordinates are
rounded to a tenth of a unit, so that the bytes do not depend on the last digit of a float.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

Points = Sequence[tuple[float, float]]

STYLES = ("first", "second", "third")
FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
LEFT, TOP, RIGHT, BOTTOM = 52.0, 14.0, 14.0, 42.0  # least room for tick labels and axis titles
LETTER_WIDTH = 6.4  # width of a tick label's letters, about


class Axis(NamedTuple):
    """One axis: its title, its ends in data units, where it ticks, and what the ticks say."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...] = ()  # none: the numbers themselves

    def labelled(self) -> list[tuple[float, str]]:
        """Return each tick with its label."""
        return list(zip(self.ticks, self.labels or map(number, self.ticks), strict=True))


def linear_axis(title: str, values: Sequence[float], whole: bool = False) -> Axis:
    """Return an axis with round ticks that covers `values`; no values give 0 to 1."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        margin = max(0.5, abs(low) * 0.1)
        low, high = low - margin, high + margin
    step = nice_step((high - low) / 4)
    step = max(1.0, round(step)) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(number * step, 10) for number in range(first, last + 1))
    return Axis(title, ticks[0], ticks[-1], ticks)


def scale_ticks(low: float, high: float) -> tuple[float, ...]:
    """Return about ten round ticks within a scale, so that 1 to 10 ticks at each score.

    >>> scale_ticks(1, 10)
    (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
    """
    step = nice_step((high - low) / 9)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(number * step, 10) for number in range(first, last + 1))


def nice_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least `step`.

    >>> nice_step(0.3), nice_step(7), nice_step(1)
    (0.5, 10.0, 1.0)
    """
    power = 10.0 ** math.floor(math.log10(step))
    return next(float(f * power) for f in (1, 2, 2.5, 5, 10) if f * power >= step * (1 - 1e-9))


class Chart:
    """A plotting area with two axes, to which marks are added in data units."""

    def __init__(self, x: Axis, y: Axis, title: str, width: float = 480, height: float = 320):
        """Draw grid, tick labels and axis titles; `title` is read out by screen readers."""
        self.x, self.y, self.title, self.width, self.height = x, y, title, width, height
        self._left = max(LEFT, 28 + LETTER_WIDTH * max(len(label) for _, label in y.labelled()))
        self._right = max(RIGHT, LETTER_WIDTH / 2 * len(x.labelled()[-1][1]))
        self._marks: list[Markup] = []
        for tick, label in x.labelled():
            self.vertical_line(tick, "grid")
            across, along = self.position(tick, y.low)
            self._text(across, along + 16, label, "middle")
        for tick, label in y.labelled():
            self.horizontal_line(tick, "grid")
            across, along = self.position(x.low, tick)
            self._text(across - 8, along + 4, label, "end")
        middle = TOP + (height - TOP - BOTTOM) / 2
        centre = self._left + (width - self._left - self._right) / 2
        self._text(centre, height - 6, x.title, "middle", "title")
        turn = Markup('<text class="title" text-anchor="middle" transform="translate(13 {}) '
                      'rotate(-90)">{}</text>').format(_f(middle), y.title)  # fmt: skip
        self._marks.append(turn)

    def position(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a data point on the drawing."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        plot_width = self.width - self._left - self._right
        plot_height = self.height - TOP - BOTTOM
        return self._left + across * plot_width, TOP + (1 - up) * plot_height

    def curve(self, points: Points, style: str) -> None:
        """Join the points by a line; points that are not finite are left out."""
        self._path("polyline", [point for point in points if all(map(math.isfinite, point))], style)

    def area(self, points: Points, style: str) -> None:
        """Fill between the points and the lower axis."""
        if points:
            closed = [(points[0][0], self.y.low), *points, (points[-1][0], self.y.low)]
            self._path("polygon", closed, style)

    def band(self, lower: Points, upper: Points, style: str) -> None:
        """Fill between two curves."""
        self._path("polygon", [*lower, *reversed(upper)], style)

    def error_bar(self, x: float, low: float, high: float, style: str) -> None:
        """Draw an interval of y: a line with a short bar at either end."""
        (across, bottom), (_, top) = self.position(x, low), self.position(x, high)
        self._line((across, bottom), (across, top), style)
        for end in (bottom, top):
            self._line((across - 4, end), (across + 4, end), style)

    def dots(self, points: Points, style: str, radius: float = 3) -> None:
        """Draw a dot at each point."""
        for point in points:
            x, y = self.position(*point)
            dot = Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>')
            self._marks.append(dot.format(style, _f(x), _f(y), _f(radius)))

    def bar(self, low: float, high: float, count: float, style: str) -> None:
        """Draw a bar from the lower axis, between two values of x."""
        left, top = self.position(low, count)
        right, bottom = self.position(high, self.y.low)
        mark = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
        self._marks.append(mark.format(style, *map(_f, (left, top, right - left, bottom - top))))

    def vertical_line(self, x: float, style: str) -> None:
        """Draw a line over the whole height."""
        self._line(self.position(x, self.y.low), self.position(x, self.y.high), style)

    def horizontal_line(self, y: float, style: str) -> None:
        """Draw a line over the whole width."""
        self._line(self.position(self.x.low, y), self.position(self.x.high, y), style)

    def note(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """Write a text at a data point."""
        self._text(*self.position(x, y), text, anchor, "note")

    def tag(self, x: float, y: float, text: str) -> None:
        """Write the number of a dot beside it."""
        across, along = self.position(x, y)
        self._text(across + 9, along + 13, text, "start", "tag")

    def svg(self) -> Markup:
        """Return the finished drawing, which scales to the width it is given."""
        head = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            _f(self.width), _f(self.height), self.title
        )
        return head + Markup("").join(self._marks) + Markup("</svg>")

    def _path(self, mark: str, points: Points, style: str) -> None:
        path = " ".join(f"{_f(x)},{_f(y)}" for x, y in (self.position(*p) for p in points))
        self._marks.append(Markup('<{} class="{}" points="{}"/>').format(mark, style, path))

    def _line(self, a: tuple[float, float], b: tuple[float, float], style: str) -> None:
        line = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
        self._marks.append(line.format(style, *map(_f, (*a, *b))))

    def _text(self, x: float, y: float, text: str, anchor: str, style: str = "tick") -> None:
        mark = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
        self._marks.append(mark.format(style, _f(x), _f(y), anchor, text))


def curve_styles(count: int) -> list[str]:
    """Return a style per curve: three colours, the rest in grey."""
    return [*STYLES, *["rest"] * count][:count]


def curves_chart(
    series: Mapping[str, Points], x_title: str, y_title: str, phase_starts: Sequence[float] = ()
) -> Markup:
    """Draw named curves; a line stands where each phase after the first begins."""
    every = [point for points in series.values() for point in points]
    x_axis = linear_axis(x_title, [x for x, _ in every], whole=True)
    y_axis = linear_axis(y_title, [y for _, y in every if math.isfinite(y)])
    chart = Chart(x_axis, y_axis, f"{y_title} by {x_title}", 560, 320)
    for start in phase_starts:
        chart.vertical_line(start, "chance")
    for style, points in zip(curve_styles(len(series)), series.values(), strict=True):
        chart.curve(points, style)
        if len(points) == 1:
            chart.dots(points, f"{style} solid")
    return chart.svg()


def number(value: float) -> str:
    """Return a tick label: whole numbers without a point, others as short as they go."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _f(value: float) -> str:
    return f"{round(value, 1) + 0.0:g}"
