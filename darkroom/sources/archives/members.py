"""The members of an archive, one after another: what each is called, and how to read it.

A member's name is only ever a cell of a table, never a path to write to. Hidden files, folders and
`__MACOSX/` are passed over, as a folder's would be; what is refused is a member whose `read` raises
Unreadable with the reason.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from darkroom.sources.entries import Labels, refuse

MAX_NAME = 4096  # PATH_MAX of Linux: no file ever had a longer path
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Member:
    """One file of an archive; `read` holds until the next member is asked for."""

    name: str
    read: Callable[[], bytes]  # raises Unreadable
    labels: Labels = field(default_factory=Labels)

    @classmethod
    def refused(cls, name: str, reason: str) -> "Member":
        """Return a member that only has a reason."""
        return cls(name, partial(refuse, reason))


class BrokenArchive(Exception):
    """The archive cannot be read any further; `reason` is the code for what is lost."""

    def __init__(self, reason: str) -> None:
        """Keep the reason code: `truncated`, `corrupt` or `bomb`."""
        super().__init__(reason)
        self.reason = reason


def check_member_name(given: str) -> tuple[str, str | None] | None:
    """Return (name to show, reason to refuse it or None); None for what is hidden."""
    path = given.replace("\\", "/")
    if len(path) > MAX_NAME:
        return printable(given[:200] + "…"), "bad_name"
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/") or _DRIVE.match(path) or ".." in parts:
        return printable(given), "escapes"
    if not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
        return None
    return printable("/".join(parts)), None


def printable(name: str) -> str:
    """Return a name that UTF-8 can hold, whatever bytes it was made of."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def refuse_duplicates(members: Iterable[Member]) -> Iterator[Member]:
    """Refuse what repeats a name: of two files of one name nobody knows which is meant."""
    counts: dict[str, int] = {}
    for member in members:
        count = counts[member.name] = counts.get(member.name, 0) + 1
        if count == 1:
            yield member
        else:
            name = f"{member.name}~{count}"
            yield replace(Member.refused(name, "duplicate_name"), labels=member.labels)
