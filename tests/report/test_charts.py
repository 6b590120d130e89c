import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from darkroom.report import charts, evaluation_charts, histograms

REALS = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))


@given(st.lists(REALS, max_size=20))
@example([20001.0, -1e-05])
def test_an_axis_covers_its_values_with_a_few_even_ticks(values):
    axis = charts.linear_axis("x", values)
    unseen = 1e-6 + 1e-9 * (axis.high - axis.low)  # what rounding to ticks may leave out
    assert all(axis.low <= value + unseen and value - unseen <= axis.high for value in values)
    assert 2 <= len(axis.ticks) <= 8
    assert axis.ticks == tuple(sorted(axis.ticks))


@given(st.floats(1e-9, 1e9))
def test_a_nice_step_is_the_next_round_number(step):
    nice = charts.nice_step(step)
    assert step * (1 - 1e-6) <= nice <= step * 2.5 * (1 + 1e-6)
    assert re.fullmatch(r"(1|2|2\.5|5|10)0*", f"{nice / 10 ** _power(nice):g}")


def _power(value):
    return int(f"{value:e}".split("e")[1])


@given(st.lists(st.tuples(REALS, REALS), max_size=30), st.text(max_size=20))
def test_every_drawing_is_well_formed_and_has_no_missing_number(points, name):
    name = "".join(c for c in name if c.isprintable())
    drawings = [
        charts.curves_chart({name: points}, "epoch", name),
        evaluation_charts.roc_chart({name: points, "b": [], "c": points, "d": points}),
        evaluation_charts.scatter_chart(points, 1, 10, 5),
        histograms.mean_scores_chart([y for _, y in points], 0, 1, None),
        evaluation_charts.calibration_chart({name: points}, [], 0, 1),
    ]
    for drawing in drawings:
        assert ElementTree.fromstring(drawing).tag == "svg"
        assert not re.search(r'="[^"]*(nan|inf)', drawing)


@pytest.mark.parametrize(
    ("low", "high", "count"),
    [pytest.param(1, 10, 10, id="ava"), pytest.param(0, 1, 6, id="share"),
     pytest.param(0, 100, 6, id="percent"), pytest.param(1, 5, 9, id="stars")],
)  # fmt: skip
def test_a_scale_ticks_at_round_scores_within_it(low, high, count):
    ticks = charts.scale_ticks(low, high)
    assert len(ticks) == count
    assert low <= ticks[0] < ticks[-1] <= high


def test_the_histogram_counts_every_value_once():
    drawing = histograms.mean_scores_chart([0, 0.5, 1, 2, -1], 0, 1, 0.5)
    heights = [float(h) for h in re.findall(r'class="bar".*? height="([\d.]+)"', drawing)]
    assert len(heights) == 18
    per_image = min(height for height in heights if height)
    assert round(sum(heights) / per_image) == 5
