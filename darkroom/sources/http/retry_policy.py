"""How long to wait before asking a server again, and how long it asks us to wait."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_DELAY_S = 0.5  # doubled at every try
MAX_DELAY_S = 60.0
MAX_RETRY_AFTER_S = 120.0  # a server that asks for more gets its URL failed until `make retry`


def delay(attempt: int, retry_after: float | None, jitter: float) -> float | None:
    """Return the seconds to wait before the next try, `jitter` in [0, 1]; None to give up."""
    growing = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt, 16)) * (0.5 + jitter)
    if retry_after is None:
        return growing
    return None if retry_after > MAX_RETRY_AFTER_S else max(retry_after, growing)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or a date (RFC 9110)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a day or zone of twenty digits
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
