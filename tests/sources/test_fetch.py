"""Fetching: the decisions, apart from the network."""

from datetime import UTC, datetime

import pytest

from stages.sources.addresses import is_public
from stages.sources.manners import MAX_RETRY_AFTER_S, delay, parse_retry_after
from stages.sources.weblist import without_secrets

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.0.1", False), ("172.16.0.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("::1", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("::ffff:127.0.0.1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_private_addresses_are_told_apart(address, public):
    assert is_public(address) is public


def test_a_name_is_no_address():
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public("example.org")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("7", 7.0), ("0", 0.0), ("soon", None),
        ("Wed, 01 May 2024 12:00:30 GMT", 30.0), ("Wed, 01 May 2024 11:00:00 GMT", 0.0),
    ],
    ids=["absent", "seconds", "now", "nonsense", "date", "past"],
)  # fmt: skip
def test_retry_after_is_read(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


def test_delays_grow_and_obey_the_server():
    assert [delay(attempt, None, 0.5) for attempt in range(4)] == [0.5, 1, 2, 4]
    assert delay(20, None, 0.5) == 60
    assert delay(0, None, 0.0) == 0.25
    assert delay(0, 30.0, 0.5) == 30
    assert delay(3, 1.0, 0.5) == 4
    assert delay(0, MAX_RETRY_AFTER_S + 1, 0.5) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.org/x.jpg", "https://a.org/x.jpg"),
        ("https://me:pass@a.org:81/x.jpg?token=1#top", "https://a.org:81/x.jpg"),
        ("http://[::1", "invalid-url"),
        ("no url", "invalid-url"),
    ],
    ids=["plain", "secrets", "broken", "words"],
)
def test_secrets_stay_out_of_tables(url, shown):
    assert without_secrets(url) == shown
