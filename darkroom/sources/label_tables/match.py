"""Matching a label table to a source's files: what its columns mean, and which file a name means.

Columns: `name` (path relative to the source, or the file name alone where it is unique, with or
without its extension), then `label`, or `mean` [and `std`], or `rating_1` to `rating_n` (votes per
score bin); optionally `group` and `split`. Other columns are ignored, with a log line. Empty cells
mean unknown. A source's `columns` say which is which where they are named otherwise, and several
tables add up. How a table is read: `read`.
"""

import logging
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from darkroom.core.errors import UserError
from darkroom.core.params.download import LabelledSource, TabledSource
from darkroom.sources.entries import Labels
from darkroom.sources.label_tables.read import NO_COLUMNS, Row, read_rows
from darkroom.sources.source_files import SourceFile

logger = logging.getLogger(__name__)

KNOWN = ("label", "mean", "std", "group", "split")
LONGEST = 500  # characters of a label: a class, no essay
MAX_VOTES = 2**53  # whole numbers beyond are not exact everywhere
_RATING = re.compile(r"rating_([0-9]{1,9})")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_tables(
    source: TabledSource, tables: list[tuple[Path, bytes]], names: list[str]
) -> dict[str, Labels]:
    """Return what one or several tables say of a source's names, each perhaps a part of it.

    Raises UserError where they contradict each other.
    """
    labels: dict[str, Labels] = {}
    for path, content in tables:
        for name, said in read_labels(path, content, names, source.columns).items():
            if getattr(source, "split_from", None) == "table" and said.official_split is None:
                said = replace(said, official_split=path.stem)
            labels[name] = _joined(path, name, labels[name], said) if name in labels else said
    if bare := len(set(names)) - len(labels):
        of = ", ".join(path.name for path, _ in tables)
        logger.warning("%s: %d of %d files have no label", of, bare, len(set(names)))
    return labels


def _joined(path: Path, name: str, before: Labels, said: Labels) -> Labels:
    """Return what two tables say of one file. Raises UserError where they disagree."""
    known = {column: value for column, value in vars(before).items() if value is not None}
    new = {column: value for column, value in vars(said).items() if value is not None}
    joined = known | new
    for column in known:
        if joined[column] != known[column]:
            raise UserError(
                f"{path}: {name} has the {column} {new[column]!r}, and {known[column]!r} in another"
                " table of `labels`; keep one of them"
            )
    if "ratings" in joined and "mean" in joined:
        raise UserError(f"{path}: {name} has a mean, and votes in another table; give one of them")
    return Labels(**joined)


def read_labels(
    path: Path, content: bytes, names: list[str], columns: Mapping[str, str | int] = NO_COLUMNS
) -> dict[str, Labels]:
    """Return the labels that a table has for a source's names. Raises UserError."""
    rows = read_rows(path, content, columns)
    parsed = parse_rows(path, rows, "name")
    if not has_labels(path, rows):
        raise UserError(
            f"{path}: expected a column label, mean, rating_1 …, group or split; "
            f"got {', '.join(rows[0])}"
        )
    return match_names(path, parsed, names)


def labels_by_name(
    source: LabelledSource, tables: list[SourceFile], names: list[str]
) -> dict[str, Labels]:
    """Return the labels of each name: from tables or the folders' names, and the split likewise.

    Raises UserError.
    """
    contents = [(Path(table.shown), table.read()) for table in tables]
    labels = read_tables(source, contents, names) if tables else {}
    given = {name: add_folder_labels(source, name, labels.get(name, Labels())) for name in names}
    check_folder_depth(source, given.values())
    return given


def check_folder_depth(source: LabelledSource, given: Collection[Labels]) -> None:
    """Raise UserError where no file lies as deep as the source's settings say; warn of some."""
    labels, splits = [each.label for each in given], [each.official_split for each in given]
    for setting, folder, values in (
        ("label_from", source.label_from, labels),
        ("split_from", source.split_from, splits),
    ):
        bare = values.count(None) if folder in {"parent", "grandparent"} else 0
        if bare and bare == len(values):
            form = "cat/1.jpg" if folder == "parent" else "train/cat/1.jpg"
            raise UserError(
                f"params.yaml: download.sources: {setting}: {folder}: expected files as {form}"
                f" below the source, but none of its {bare} files lies so deep; move them, or leave"
                f" {setting} out"
            )
        if bare:
            logger.warning(
                "%s: %s: %d of %d files do not lie so deep and stay without",
                setting, folder, bare, len(values),
            )  # fmt: skip


def add_folder_labels(source: LabelledSource, name: str, labels: Labels) -> Labels:
    """Add what the folders of a name say, as the source wants it."""
    if source.label_from is None and source.split_from is None:
        return labels
    parents = PurePosixPath(name).parts[:-1]
    if source.label_from == "parent" and parents:
        labels = replace(labels, label=parents[-1])
    depth = {"parent": 1, "grandparent": 2}.get(source.split_from or "", 0)
    if depth and len(parents) >= depth and labels.official_split is None:
        labels = replace(labels, official_split=parents[-depth])
    return labels


def rating_columns(path: Path, columns: Iterable[str]) -> list[str]:
    """Return `rating_1` (or `rating_01`) to `rating_n` in order, as they are written.

    Raises UserError when one is missing or comes twice.
    """
    numbered = sorted((int(m[1]), column) for column in columns if (m := _RATING.fullmatch(column)))
    names = [column for _, column in numbered]
    if [number for number, _ in numbered] != list(range(1, len(numbered) + 1)):
        raise UserError(
            f"{path}: expected rating_1, rating_2, … without gaps; got {', '.join(names)}"
        )
    return names


def parse_rows(
    path: Path, rows: list[Row], name_column: str, used: Collection[str] = ()
) -> list[tuple[str, Labels]]:
    """Return (name, labels) of each row, in order; other columns may be `used` elsewhere.

    Raises UserError naming file and line.
    """
    columns = list(rows[0])
    if name_column not in columns:
        other = "columns: {name: …}" if name_column == "name" else "url_column: …"
        raise UserError(
            f"{path}: expected a column `{name_column}`; got {', '.join(columns)[:200] or 'none'};"
            " the first line names the columns, and commas, semicolons or tabs separate them; where"
            f" it has another name, say {other} in download.sources"
        )
    ratings = rating_columns(path, columns)
    if ratings and {"mean", "std"} & set(columns):
        raise UserError(f"{path}: give either rating_1 … rating_n or mean and std, not both")
    if "std" in columns and "mean" not in columns:
        raise UserError(f"{path}: expected a column `mean` beside `std`; got {', '.join(columns)}")
    ignored = [c for c in columns if c not in (*KNOWN, *ratings, name_column, *used)]
    if ignored:
        logger.info("%s: columns not used: %s", path.name, ", ".join(ignored))
    return [(row[name_column].strip(), parse_row(row, ratings)) for row in rows]


def has_labels(path: Path, rows: list[Row]) -> bool:
    """Return whether any column of the table says something about an image."""
    return bool(rating_columns(path, rows[0]) or set(KNOWN) & set(rows[0]))


def parse_row(row: Row, ratings: list[str]) -> Labels:
    """Return what one row says. Raises UserError."""
    std = _number(row, "std")
    if std is not None and std < 0:
        raise UserError(f"{row.where}: column std: expected 0 or more, got {std:g}")
    return Labels(
        label=_text(row, "label"), ratings=_votes(row, ratings), mean=_number(row, "mean"), std=std,
        source_group=_text(row, "group"), official_split=_text(row, "split"),
    )  # fmt: skip


def _text(row: Row, column: str) -> str | None:
    text = (row.get(column) or "").strip()
    if len(text) > LONGEST or (not text.isprintable() and _CONTROL.search(text)):
        raise UserError(
            f"{row.where}: column {column}: expected at most {LONGEST} printable characters, got"
            f" {len(text)}: {text[:60]!r}; correct that cell"
        )
    return text or None


def _number(row: Row, column: str) -> float | None:
    text = _text(row, column)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{row.where}: column {column}: expected a number, got {text!r}")
    return value


def _votes(row: Row, columns: list[str]) -> tuple[int, ...] | None:
    """Return the votes; a row with none at all is unrated."""
    try:
        counts = [int(row[column]) for column in columns]
    except (KeyError, ValueError):  # empty cells, 3.0, or something wrong
        counts = [_count(row, column) for column in columns]
    if any(count < 0 or count > MAX_VOTES for count in counts):
        raise UserError(
            f"{row.where}: rating_…: expected counts of votes, 0 to {MAX_VOTES:.0e}; got {counts}"
        )
    return tuple(counts) if any(counts) else None


def _count(row: Row, column: str) -> int:
    value = _number(row, column) or 0.0
    if not value.is_integer():
        raise UserError(
            f"{row.where}: column {column}: expected counts of votes, got {row[column]}; for shares"
            " or scores give mean and std instead"
        )
    return int(value)


def match_names(path: Path, table: list[tuple[str, Labels]], names: list[str]) -> dict[str, Labels]:
    """Return the labels by the source's own names; some may have none.

    Unknown names are a warning; UserError when none matches, a name is ambiguous, or two rows
    disagree about one file.
    """
    index = _NameIndex(names)
    matched: dict[str, tuple[Labels, int]] = {}
    unknown = []
    for number, (given, labels) in enumerate(table, 1):
        name = index.find(path, given)
        if name is None:
            unknown.append(given)
            continue
        before, row = matched.setdefault(name, (labels, number))
        if before != labels:
            raise UserError(
                f"{path}: two rows disagree about {name}, the {row}. and the {number}. of the"
                " table; keep one of them"
            )
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
    return {name: labels for name, (labels, _) in matched.items()}


class _NameIndex:
    """The names of a source, to be found by path, by file name, or by its stem.

    Accented letters match in either of Unicode's forms: macOS takes names apart, most tables do
    not. A name as it is written comes first.
    """

    def __init__(self, names: list[str]) -> None:
        self._names, self._exact = names, set(names)
        self._by: list[dict[str, str | None]] = []  # made as far as they are needed

    def find(self, path: Path, given: str) -> str | None:
        """Return the name that is meant, None for none. Raises UserError when it is unclear."""
        relative = given.replace("\\", "/").removeprefix("./")
        if relative in self._exact:
            return relative
        folded = _folded(relative)
        for number, view in enumerate(_VIEWS):
            if number == len(self._by):
                self._by.append(_unique(view, self._names))
            if folded in self._by[number]:
                name = self._by[number][folded]
                if name is None:
                    raise UserError(
                        f"{path}: {given!r} is the name of several files;"
                        " give its path below the source"
                    )
                return name
        return None


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and "/" not in extension and _base(stem) else name


# How a table may name a file, the surest way first.
_VIEWS: list[Callable[[str], str]] = [
    str, _base, _without_extension, lambda name: _base(_without_extension(name)),
]  # fmt: skip


def _folded(name: str) -> str:
    name = name.strip()
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _unique(view: Callable[[str], str], names: list[str]) -> dict[str, str | None]:
    """Return name by what `view` shows of it; None where several names look the same."""
    by_view: dict[str, str | None] = {}
    for name in names:
        key = _folded(view(name))
        by_view[key] = name if by_view.get(key, name) == name else None
    return by_view
