import doctest
import importlib

import pytest

from tests.harness import REPOSITORY

NAMES = sorted(path.stem for path in (REPOSITORY / "darkroom/evaluation").glob("[!_]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_in_docstrings_hold(name):
    module = importlib.import_module(f"darkroom.evaluation.{name}")
    assert doctest.testmod(module).failed == 0
