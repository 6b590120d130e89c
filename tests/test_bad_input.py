"""Bad inputs, and what the user is told of each: tables of them are in `tests/bad_input/`."""

import logging

import pytest

from tests.bad_input import settings
from tests.bad_input.cases import matches, run

CASES = [*settings.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_bad_input_is_explained(tmp_path, caplog, case):
    case.make(tmp_path)
    with caplog.at_level(logging.INFO):
        told = run(tmp_path, case.stages)
    if case.warns:
        assert told is None
        log = [line.replace(str(tmp_path), "ROOT") for line in caplog.messages]
        assert any(matches(case.says, line) for line in log), "\n".join(log)
    else:
        assert told is not None, "nothing was said"
        assert matches(case.says, told), told


def test_each_case_has_a_name_of_its_own():
    names = [case.id for case in CASES]
    assert sorted(set(names)) == sorted(names)
