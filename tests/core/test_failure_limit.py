import pytest

from darkroom.core.errors import UserError
from darkroom.core.failure_limit import stop_if_too_many


def test_as_many_failures_as_allowed_pass():
    stop_if_too_many("clean", "clean.max_failed_fraction", [("truncated", "a.jpg")] * 5, 10, 0.5)


def test_nothing_at_all_passes():
    stop_if_too_many("clean", "clean.max_failed_fraction", [], 0, 0.0)


def test_too_many_failures_name_counts_parameter_and_the_ten_commonest_reasons():
    reasons = [
        (f"reason_{number:02d}", f"{image}.jpg")
        for number in range(12)
        for image in range(number + 1)
    ]
    with pytest.raises(UserError) as caught:
        stop_if_too_many("download", "download.max_failed_fraction", reasons, 100, 0.5)
    message = str(caught.value)
    assert "78 of 100" in message
    assert "download.max_failed_fraction = 0.5" in message
    assert "12  reason_11, as 0.jpg" in message
    assert "reason_02" in message
    assert "reason_01" not in message
