import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    ["report", "pages.bins", "pages.card", "pages.charts", "pages.eigenimages", "pages.evaluation",
     "pages.grids"],
)  # fmt: skip
def test_the_examples_in_docstrings_hold(name):
    tried = doctest.testmod(importlib.import_module(f"stages.{name}"))
    assert tried.attempted > 0
    assert tried.failed == 0
