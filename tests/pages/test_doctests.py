import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["report", "pages.bins", "pages.charts", "pages.eigenimages"])
def test_the_examples_in_docstrings_hold(name):
    tried = doctest.testmod(importlib.import_module(f"stages.{name}"))
    assert tried.attempted > 0
    assert tried.failed == 0
