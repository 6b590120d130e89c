"""The examples in docstrings."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["labels.labelled", "labels.votes", "core.csv", "core.tables"])
def test_examples(module):
    found = doctest.testmod(importlib.import_module(f"darkroom.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
