import doctest
import importlib

import pytest

NAMES = [
    "agreement", "bands", "calibration", "classes", "curves", "emd", "figures", "intervals",
    "one_class", "operating", "paired", "predictions", "ratings", "roc", "sides", "thresholds",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_in_docstrings_hold(name):
    module = importlib.import_module(f"darkroom.evaluation.{name}")
    assert doctest.testmod(module).failed == 0


def test_every_module_is_listed(repository):
    files = (repository / "darkroom/evaluation").glob("*.py")
    assert sorted(path.stem for path in files if path.stem != "__init__") == NAMES
