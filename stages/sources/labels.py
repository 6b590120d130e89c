"""Label tables: CSV files that say what each image is, or how it was rated.

Columns: `name` (path relative to the source, or the file name alone where it is unique), then
`label`, or `mean` [and `std`], or `rating_1` to `rating_n` (votes per score bin); optionally
`group` and `split`. Other columns are ignored, with a log line. Empty cells mean unknown.
"""

import csv
import io
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from stages.lib.failures import UserError
from stages.sources.records import Labels

logger = logging.getLogger(__name__)

KNOWN = ("label", "mean", "std", "group", "split")
_RATING = re.compile(r"rating_(\d+)")
Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """Read a CSV file (comma, semicolon or tab) with a header. Raises UserError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=delimiter, restkey="", restval=""
    )
    try:
        rows = [{key.strip(): value for key, value in row.items() if key} for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not valid CSV: {error}") from error
    if not rows:
        raise UserError(f"{path} has no rows below its header")
    return rows


def rating_columns(path: Path, columns: Iterable[str]) -> list[str]:
    """Return `rating_1` to `rating_n` in order. Raises UserError when one is missing."""
    numbers = sorted(int(m[1]) for column in columns if (m := _RATING.fullmatch(column)))
    if numbers != list(range(1, len(numbers) + 1)):
        found = ", ".join(f"rating_{number}" for number in numbers)
        raise UserError(f"{path}: expected rating_1, rating_2, … without gaps; got {found}")
    return [f"rating_{number}" for number in numbers]


def parse_rows(path: Path, rows: list[Row], name_column: str) -> list[tuple[str, Labels]]:
    """Return (name, labels) of each row, in order. Raises UserError naming file and line."""
    columns = list(rows[0])
    if name_column not in columns:
        raise UserError(
            f"{path}: expected a column `{name_column}`; got {', '.join(columns) or 'none'}"
        )
    ratings = rating_columns(path, columns)
    if ratings and {"mean", "std"} & set(columns):
        raise UserError(f"{path}: give either rating_1 … rating_n or mean and std, not both")
    ignored = [c for c in columns if c not in (*KNOWN, *ratings, name_column)]
    if ignored:
        logger.info("%s: columns not used: %s", path.name, ", ".join(ignored))
    return [
        (row[name_column].strip(), _parse(row, ratings, f"{path}:{line}"))
        for line, row in enumerate(rows, start=2)
    ]


def has_labels(path: Path, rows: list[Row]) -> bool:
    """Return whether any column of the table says something about an image."""
    return bool(rating_columns(path, rows[0]) or set(KNOWN) & set(rows[0]))


def _parse(row: Row, ratings: list[str], where: str) -> Labels:
    votes = [_number(row, column, where) for column in ratings]
    return Labels(
        label=_text(row, "label"),
        ratings=_votes(votes, where),
        mean=_number(row, "mean", where),
        std=_number(row, "std", where),
        source_group=_text(row, "group"),
        official_split=_text(row, "split"),
    )


def _text(row: Row, column: str) -> str | None:
    return (row.get(column) or "").strip() or None


def _number(row: Row, column: str, where: str) -> float | None:
    text = _text(row, column)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: column {column}: expected a number, got {text!r}")
    return value


def _votes(values: list[float | None], where: str) -> tuple[int, ...] | None:
    """Return the votes; a row with none at all is unrated."""
    counts = [0.0 if value is None else value for value in values]
    if any(count < 0 or not count.is_integer() for count in counts):
        raise UserError(f"{where}: rating_…: expected counts of votes, 0 or more; got {counts}")
    return tuple(int(count) for count in counts) if any(counts) else None


def match(path: Path, table: list[tuple[str, Labels]], names: list[str]) -> dict[str, Labels]:
    """Return the labels by the source's own names; some may have none.

    Unknown names are a warning; UserError when none matches, a name is ambiguous, or two rows
    disagree about one file.
    """
    known, by_base = set(names), _by_base_name(names)
    matched: dict[str, Labels] = {}
    unknown = []
    for given, labels in table:
        name = _resolve(path, given, known, by_base)
        if name is None:
            unknown.append(given)
        elif matched.setdefault(name, labels) != labels:
            raise UserError(f"{path}: two rows disagree about {name}; keep one of them")
    examples = ", ".join(repr(name) for name in unknown[:5])
    if unknown and not matched:
        raise UserError(
            f"{path}: none of its {len(table)} names is a file of the source; it names {examples}, "
            f"the source has {', '.join(repr(name) for name in names[:5])}. Names are paths "
            "relative to the source, or file names."
        )
    if unknown:
        logger.warning(
            "%s: %d of %d names are no files of the source and are passed over: %s",
            path.name, len(unknown), len(table), examples,
        )  # fmt: skip
    if bare := len(known) - len(matched):
        logger.warning("%s: %d of %d files have no label", path.name, bare, len(known))
    return matched


def _by_base_name(names: list[str]) -> Mapping[str, str | None]:
    """Return the full name by file name; None where several files share it."""
    counts = Counter(PurePosixPath(name).name for name in names)
    return {
        base: name if counts[base] == 1 else None
        for name in names
        for base in [PurePosixPath(name).name]
    }


def _resolve(
    path: Path, given: str, known: set[str], by_base: Mapping[str, str | None]
) -> str | None:
    relative = given.replace("\\", "/").removeprefix("./")
    if relative in known:
        return relative
    if relative not in by_base:
        return None
    name = by_base[relative]
    if name is None:
        raise UserError(
            f"{path}: {given!r} is the name of several files; give its path below the source"
        )
    return name
