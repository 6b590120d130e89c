import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    ["stages.report", *(f"darkroom.report.{name}" for name in (
        "histograms", "model_card", "charts", "eigenimages", "evaluation_charts", "metric_tables",
    ))],
)  # fmt: skip
def test_the_examples_in_docstrings_hold(name):
    tried = doctest.testmod(importlib.import_module(name))
    assert tried.attempted > 0
    assert tried.failed == 0
