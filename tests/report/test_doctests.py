import doctest
import importlib

import pytest

MODULES = (
    "charts", "eigenimages", "evaluation_charts", "formatting", "histograms", "metric_tables",
    "render",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name):
    tried = doctest.testmod(importlib.import_module(f"darkroom.report.{name}"))
    assert tried.attempted > 0
    assert tried.failed == 0
