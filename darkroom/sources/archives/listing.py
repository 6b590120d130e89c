"""What one archive or shard holds, cached at the first pass through it, so that it is the only one.

The cache has a line of JSON per record: name, and key or reason, and labels. It is named by the
version of the file and all that decides what is read from it. Read again, it gives the keys; the
bytes of one that is wanted after all are found by going through the archive once more.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.files import unfinished, write_bytes
from darkroom.core.paths import original_root
from darkroom.sources.archives.decompress import Limits
from darkroom.sources.archives.members import Member
from darkroom.sources.entries import Labels, Unreadable

CACHE = Path(".darkroom/listings")  # purge removes them, since they hold labels
_FORMAT = 1  # to be raised when members, names, reasons or labels are read otherwise
Pass = Callable[[], Iterator[Member]]


class Record(NamedTuple):
    """One record of an archive."""

    name: str
    key: str | None  # where it is known
    labels: Labels
    load: Callable[[], bytes]  # raises Unreadable


class Listing:
    """The records of one archive; `read_all` gives its members from front to back."""

    def __init__(self, root: Path, version: str, limits: Limits, read_all: Pass) -> None:
        """Look for the cache of an earlier pass."""
        known_by = f"{_FORMAT}\0{version}\0{tuple(limits)}"
        name = hashlib.sha256(known_by.encode()).hexdigest()[:32]
        self._cache = original_root(root) / CACHE / f"{name}.jsonl"
        self._read_all = read_all
        self._again: Iterator[tuple[int, Member]] = iter(())
        self._at = -1

    def count(self) -> int | None:
        """Return how many records there are, if it is known."""
        return sum(1 for _ in self._lines()) if self._cache.exists() else None

    def names(self) -> list[str]:
        """Return the names of all records, by a pass if need be."""
        if self._cache.exists():
            return [str(line["name"]) for line in self._lines()]
        return [member.name for member in self._read_all()]

    def read(self, position: int) -> bytes:
        """Return the bytes of one record, which are cached as well. Raises Unreadable."""
        kept = self._cache.with_suffix(f".{position}")
        if not kept.exists():
            write_bytes(kept, self._find(position))
        return kept.read_bytes()

    def records(self) -> Iterator[Record]:
        """Yield the records in order, each to be loaded before the next is asked for."""
        if not self._cache.exists():
            yield from self._first()
            return
        for position, line in enumerate(self._lines()):
            labels = Labels(**line["labels"] | _tuples(line["labels"]))
            load: Callable[[], bytes] = partial(self._find, position)
            if line["reason"]:
                load = Member.refused(line["name"], line["reason"]).read
            yield Record(line["name"], line["key"], labels, load)

    def _first(self) -> Iterator[Record]:
        """Go through the archive and cache it; what nobody loaded has neither key nor reason."""
        temporary = unfinished(self._cache)
        with temporary.open("w", encoding="utf-8") as handle:
            for member in self._read_all():
                outcome: dict[str, str] = {}
                yield Record(member.name, None, member.labels, partial(_load, member, outcome))
                line = {
                    "name": member.name, "key": outcome.get("key"), "reason": outcome.get("reason"),
                    "labels": {k: v for k, v in vars(member.labels).items() if v is not None},
                }  # fmt: skip
                handle.write(json.dumps(line) + "\n")
        temporary.replace(self._cache)

    def _find(self, position: int) -> bytes:
        """Return the bytes of the record at `position`; forwards, as far as it goes."""
        if position <= self._at:
            self._at, self._again = -1, iter(())
        if self._at < 0:
            self._again = enumerate(self._read_all())
        for at, member in self._again:
            self._at = at
            if at == position:
                return member.read()
        raise Unreadable("vanished")

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self._cache.open(encoding="utf-8") as handle:
            for line in handle:
                try:
                    yield dict(json.loads(line))
                except ValueError as error:
                    raise UserError(f"{self._cache} is damaged; delete it and run again") from error


def _load(member: Member, outcome: dict[str, str]) -> bytes:
    """Return the bytes of a member, and keep their key, or why there are none."""
    try:
        content = member.read()
    except Unreadable as failure:
        outcome["reason"] = failure.reason
        raise
    from darkroom.core.shards import key_of  # here: it brings pandas, which takes a while

    outcome["key"] = key_of(content)
    return content


def _tuples(labels: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON holds as lists and Labels as tuples."""
    return {"ratings": tuple(labels["ratings"])} if labels.get("ratings") else {}
