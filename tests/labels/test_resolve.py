"""Records of a key agree or conflict."""

import pytest

from darkroom.labels.resolve import agree


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        pytest.param(["x", "x"], "drop", ("x", False), id="equal"),
        pytest.param(["x", None], "drop", ("x", False), id="null never conflicts"),
        pytest.param([None], "drop", (None, False), id="none at all"),
        pytest.param(["x", "y"], "drop", (None, True), id="unequal"),
        pytest.param(["x", "x", "y"], "majority", ("x", True), id="majority"),
        pytest.param(["x", "y"], "majority", (None, True), id="tie"),
    ],
)
def test_records_agree(values, rule, expected):
    assert agree(values, rule) == expected
