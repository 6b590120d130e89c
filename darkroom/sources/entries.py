"""What every source gives: entries, one per file or URL, with their labels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Labels:
    """What a source says about an image; None means that it says nothing."""

    label: str | None = None
    ratings: tuple[int, ...] | None = None  # votes per score bin
    mean: float | None = None
    std: float | None = None
    source_group: str | None = None
    official_split: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the label columns of the index."""
        ratings = None if self.ratings is None else list(self.ratings)
        return {**vars(self), "ratings": ratings}


class Unreadable(Exception):
    """The bytes cannot be had; `reason` is the code that becomes the record's reason."""

    def __init__(self, reason: str, message: str = "") -> None:
        """Keep the reason code, as `permission_denied`, and a library's own message."""
        super().__init__(reason)
        self.reason, self.message = reason, message or reason


def refuse(reason: str) -> bytes:
    """Raise Unreadable: what loads an entry that has no bytes."""
    raise Unreadable(reason)


class Version(NamedTuple):
    """What is known of a remote file without fetching it."""

    size: int | None
    token: str  # changes when the content does, as far as the server says

    def __str__(self) -> str:
        """Return both, as digests use them."""
        return f"{self.size}-{self.token}"


@dataclass(frozen=True)
class Entry:
    """One file or URL of a source; `load` gives its bytes or raises Unreadable."""

    name: str  # unique within the source
    uri: str  # no credentials, no query
    load: Callable[[], bytes]
    key: str | None = None  # where it is known without loading
    labels: Labels = field(default_factory=Labels)


@dataclass(frozen=True)
class EntryStream:
    """Entries that come one after another, each to be loaded before the next is asked for."""

    entries: Iterator[Entry]
    expected: int | None  # how many, where it is known beforehand

    def read(
        self, store: object, journal: object, advance: Callable[[int], None]
    ) -> Iterator[Entry]:
        """Yield the entries, once; neither store nor journal is needed for them."""
        for entry in self.entries:
            yield entry
            advance(1)
