import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.report import histograms
from darkroom.report.charts import Axis

POSITIVE = st.floats(1e-3, 1e9)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40))
def test_every_finite_number_is_counted_once(values):
    counted = histograms.count(values, -10, 10, 7)
    assert counted.total == np.isfinite(values).sum()
    assert len(counted.edges) == len(counted.counts) + 1


def test_a_value_falls_into_its_bin():
    assert histograms.count([0, 0.24, 0.25, 0.99, 1, 7, -7], 0, 1, 4).counts == (3, 1, 0, 3)
    assert histograms.count([1, 9, 10, 99, 100, 0, None], 1, 100, 2, logarithmic=True).counts == (
        2,
        3,
    )


def test_rows_are_in_the_values_own_units():
    rows = histograms.count([1, 100, 100], 1, 100, 2, logarithmic=True).rows("px")
    assert rows["px"].round(3).tolist() == [3.162, 31.623]
    assert rows["share"].round(3).tolist() == [0.333, 0.667]


@given(st.lists(POSITIVE, min_size=1, max_size=20))
def test_a_logarithmic_axis_holds_its_values_between_few_round_labels(values):
    axis = histograms.log_axis("px", min(values), max(values))
    logarithms = np.log10(values)
    assert axis.low < logarithms.min()
    assert logarithms.max() < axis.high
    assert 2 <= len(axis.ticks) == len(axis.labels) <= 14
    assert axis.ticks == tuple(sorted(set(axis.ticks)))


@given(st.lists(st.tuples(POSITIVE, POSITIVE), max_size=40))
def test_cells_hold_every_size_once(sizes):
    width, height = np.array(sizes).reshape(-1, 2).T
    axis = histograms.log_axis("px", 1e-3, 1e9)
    rows = histograms.count_sizes(width, height, axis)
    assert rows["images"].sum() == len(sizes)
    assert (rows["width"] * rows["images"]).sum() == pytest.approx(width.sum())
    drawing = histograms.size_chart(rows, axis)
    assert drawing.count("<circle") == len(rows)


@given(
    st.lists(st.integers(0, 5), min_size=3, max_size=9),
    st.text(st.characters(exclude_characters="n"), max_size=9),  # neither nan nor inf
)
def test_drawings_are_well_formed(counts, name):
    name = "".join(c for c in name if c.isprintable())
    edges = tuple(range(len(counts) + 1))
    held = histograms.Bins(edges, tuple(counts))
    drawings = [
        histograms.bars(held, Axis(name, 0, len(counts), (0.0, 1.0)), name, limit=0.5),
        histograms.tone_curves([np.array(counts) / 9] * 3),
    ]
    for drawing in drawings:
        assert ElementTree.fromstring(drawing).tag == "svg"
        assert not re.search(r'="[^"]*(nan|inf)', drawing)
    assert drawings[0].count('class="bar"') == sum(count > 0 for count in counts)
