"""How long to wait before asking again."""

from datetime import UTC, datetime

import pytest

from darkroom.sources.http.retry_policy import MAX_RETRY_AFTER_S, delay, parse_retry_after

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("7", 7.0), ("0", 0.0), ("soon", None), ("-5", None), ("", None),
        ("²", None), ("Wed, 01 May 2024 12:00:30 GMT", 30.0),
        ("Wed, 01 May 2024 11:00:00 GMT", 0.0), (f"Wed, {'9' * 20} May 2024 11:00:00 GMT", None),
        (f"Wed, 01 May 2024 11:00:00 +{'9' * 20}", None),
    ],
    ids=[
        "absent", "seconds", "now", "words", "negative", "empty", "a power", "date", "past",
        "a day without end", "a zone without end",
    ],
)  # fmt: skip
def test_retry_after_is_read(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


def test_delays_grow_and_obey_the_server():
    assert [delay(attempt, None, 0.5) for attempt in range(4)] == [0.5, 1, 2, 4]
    assert delay(2000, None, 0.5) == 60
    assert delay(0, None, 0.0) == 0.25
    assert delay(0, 30.0, 0.5) == 30
    assert delay(3, 1.0, 0.5) == 4
    assert delay(0, MAX_RETRY_AFTER_S + 1, 0.5) is None
