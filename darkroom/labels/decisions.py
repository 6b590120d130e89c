"""What people decided by hand: `data/review.csv`, written by `review`, applied by clean and dedupe.

One row per decision, sorted, so that git shows what changed. Columns: `key`, `other` (the second
key of a pair), `decision`, `value`, `note` (free text).

| decision | about | means |
|---|---|---|
| `keep` | an image | it stays, whatever its flags and whosever copy it is |
| `reject` | an image | it goes |
| `label` | an image | `value` replaces its label |
| `mean` | an image | `value`, a number, replaces its rating |
| `duplicate` | a pair | one of them is a copy of the other |
| `not_duplicate` | a pair | neither is a copy of the other |

Decisions name keys, that is contents: they outlive every re-run, and those on images that are gone
wait until these come back. The file may be edited in a spreadsheet: a byte order mark, other line
ends, semicolons or tabs for commas and another order of columns are read. A cell that a spreadsheet
would take for a formula is written behind an apostrophe.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from darkroom.core.csv import escape, rows_to_csv, unescape
from darkroom.core.errors import UserError
from darkroom.core.files import write_text
from darkroom.core.graphs import Pair

REVIEW = Path("data/review.csv")
COLUMNS = ("key", "other", "decision", "value", "note")
ABOUT = {
    "keep": "status", "reject": "status", "label": "label", "mean": "mean",
    "duplicate": "pair", "not_duplicate": "pair",
}  # fmt: skip
LONGEST = 500  # characters of a value or note: a label, no essay

_KEY = re.compile(r"[0-9a-f]{32}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Subject(NamedTuple):
    """What a decision is about; there is at most one decision on each."""

    key: str
    other: str  # empty unless it is a pair
    about: str  # status, label, mean or pair


class Decision(NamedTuple):
    """One row of the file."""

    key: str
    other: str
    decision: str
    value: str = ""
    note: str = ""

    @property
    def subject(self) -> Subject:
        """Return what it is about."""
        return Subject(self.key, self.other, ABOUT[self.decision])


@dataclass(frozen=True)
class Decisions:
    """All decisions, as stages ask for them."""

    keep: frozenset[str] = frozenset()
    reject: frozenset[str] = frozenset()
    label: dict[str, str] = field(default_factory=dict)
    mean: dict[str, float] = field(default_factory=dict)
    duplicate: frozenset[Pair] = frozenset()
    not_duplicate: frozenset[Pair] = frozenset()

    def count(self, kind: str, keys: Set[str]) -> int:
        """Return how many decisions of this kind name images that are all among `keys`."""
        named = ({one} if isinstance(one, str) else set(one) for one in getattr(self, kind))
        return sum(keys >= images for images in named)

    def waiting(self, keys: Set[str]) -> int:
        """Return how many decisions name an image that is not among `keys`."""
        return sum(len(getattr(self, kind)) - self.count(kind, keys) for kind in ABOUT)


def read_decisions(root: Path) -> Decisions:
    """Return what `data/review.csv` below `root` says; an absent file says nothing.

    Raises UserError on a broken row, and on rows that contradict each other.
    """
    path = root / REVIEW
    rows = parse(path.read_bytes(), str(path)) if path.exists() else []
    by = {kind: [row for row in rows if row.decision == kind] for kind in ABOUT}
    return Decisions(
        keep=frozenset(row.key for row in by["keep"]),
        reject=frozenset(row.key for row in by["reject"]),
        label={row.key: row.value for row in by["label"]},
        mean={row.key: float(row.value) for row in by["mean"]},
        duplicate=frozenset((row.key, row.other) for row in by["duplicate"]),
        not_duplicate=frozenset((row.key, row.other) for row in by["not_duplicate"]),
    )


def check(decision: Decision) -> Decision:
    """Return a decision in its one form, keys in order. Raises ValueError: expected, got."""
    key, other, kind = (cell.strip().lower() for cell in decision[:3])
    if kind not in ABOUT:
        raise ValueError(f"decision: expected one of {', '.join(ABOUT)}; got {kind!r}")
    if not _KEY.fullmatch(key):
        raise ValueError(f"key: expected 32 hexadecimal digits, got {key!r}")
    if ABOUT[kind] == "pair":
        if not _KEY.fullmatch(other) or other == key:
            raise ValueError(
                f"other: expected the 32 hexadecimal digits of another image for {kind}, got"
                f" {other!r}"
            )
        key, other = sorted((key, other))
    elif other:
        raise ValueError(f"other: expected nothing for {kind}, got {other!r}")
    note = _CONTROL.sub(" ", decision.note).strip()[:LONGEST]
    return Decision(key, other, kind, _value(kind, decision.value.strip()), note)


def _value(kind: str, value: str) -> str:
    if kind == "mean":
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"value: expected a number for mean, got {value!r}")
        return f"{number:.10g}"
    if kind == "label":
        if not value or len(value) > LONGEST or _CONTROL.search(value):
            raise ValueError(
                f"value: expected a label of 1 to {LONGEST} characters on one line, got {value!r}"
            )
    elif value:
        raise ValueError(f"value: expected nothing for {kind}, got {value!r}")
    return value


def parse(content: bytes, where: str) -> list[Decision]:
    """Return the rows of the file, sorted, each once. Raises UserError naming the line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: expected UTF-8, got {error.reason} at byte {error.start}; save it as"
            " 'CSV UTF-8'"
        ) from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)  # a comma where none occurs
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in next(lines, [])]
    if header and (not {"key", "decision"} <= set(header) <= set(COLUMNS)):
        raise UserError(
            f"{where}, line 1: expected the columns {', '.join(COLUMNS)}; got {', '.join(header)}"
        )
    by_subject: dict[Subject, tuple[int, Decision]] = {}
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                _add(by_subject, header, cells, lines.line_num, where)
    except csv.Error as error:
        raise UserError(f"{where}, line {lines.line_num}: no CSV: {error}") from error
    return sorted(row for _, row in by_subject.values())


def _add(
    by_subject: dict[Subject, tuple[int, Decision]],
    header: list[str],
    cells: list[str],
    line: int,
    where: str,
) -> None:
    """Check one line against the columns and all lines before it."""
    if len(cells) > len(header) and any(cells[len(header) :]):
        raise UserError(f"{where}, line {line}: expected {len(header)} cells, got {len(cells)}")
    named = dict.fromkeys(COLUMNS, "") | dict(zip(header, map(unescape, cells), strict=False))
    try:
        row = check(Decision(*(named[name] for name in COLUMNS)))
    except ValueError as error:
        raise UserError(f"{where}, line {line}: {error}") from error
    before, earlier = by_subject.setdefault(row.subject, (line, row))
    if earlier[:4] != row[:4]:
        pair = f"{row.key} and {row.other}" if row.other else row.key
        raise UserError(
            f"{where}: line {before} says {_said(earlier)} and line {line} says {_said(row)} of"
            f" {pair}; remove one of them"
        )


def _said(row: Decision) -> str:
    return f"{row.decision} {row.value!r}" if row.value else row.decision


def as_csv(rows: Iterable[Decision]) -> str:
    """Return the file's text: sorted, one line per decision."""
    return rows_to_csv(COLUMNS, (map(escape, row) for row in sorted(rows)))


def write_decisions(path: Path, rows: Iterable[Decision]) -> None:
    """Publish the file in one step."""
    write_text(path, as_csv(rows))
