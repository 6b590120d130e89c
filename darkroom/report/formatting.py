"""Numbers and names as people read them, on the page and on the model card alike."""

from collections.abc import Callable, Mapping
from typing import Any

LONGEST_NAME = 80  # characters: names come from users and have no end


def words(name: object) -> str:
    """Return an identifier of ours in words.

    >>> words("exact_duplicate")
    'exact duplicate'
    """
    return str(name).replace("_", " ")


def shorten(text: str, most: int = LONGEST_NAME) -> str:
    """Return a text of at most `most` characters.

    >>> shorten("mountain lion", 8)
    'mountai…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def plural(count: int, noun: str) -> str:
    """Return how many, with their name.

    >>> plural(1, "image"), plural(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Return a share in per cent.

    >>> percent(0.05), percent(0.0025)
    ('5 %', '0.25 %')
    """
    return f"{100 * share:.6g} %"


def three_decimals(value: float | None) -> str:
    """Return a metric with three decimals, a dash for none."""
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Return an interval, nothing where there is none."""
    return "" if low is None or high is None else f"{three_decimals(low)} to {three_decimals(high)}"


def scalar(value: Any) -> str:
    """Return a number, truth value or text of metrics/<stage>.json."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


FILTERS: Mapping[str, Callable[..., str]] = {
    "count": lambda number: f"{number:,}",
    "share": lambda part, of: f"{100 * part / of if of else 0:.1f}",
    "one_decimal": lambda value: f"{value:.1f}",
    "two_decimals": lambda value: f"{value:,.2f}",
    "three_decimals": three_decimals,
    "interval": lambda metric: interval(metric.low, metric.high),
    "percent": percent,
    "scalar": scalar,
    "shorten": shorten,
    "words": words,
}
