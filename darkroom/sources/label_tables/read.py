"""Reading label tables as rows of text, whatever their form; what a row means: `match`.

- CSV with a header, separated by commas, semicolons or tabs;
- Parquet; a column `ratings` of lists is taken apart into rating_1, rating_2, …;
- JSON as idealo's image-quality-assessment has it: a list of {"image_id": …, "label": [votes]};
  other plain keys are columns as well;
- AVA.txt, known by its fifteen numbers per line: index, image id, ten counts of votes, two tags and
  a challenge (Murray et al., "AVA", CVPR 2012). Image 123 is the file 123.jpg.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow

_AVA = re.compile(rb"\s*\d+([ \t]+\d+){14}[ \t]*(\r?\n|$)")
_BINS = 10  # of AVA
PARQUET = b"PAR1"  # with which such a file begins
NO_COLUMNS: Mapping[str, str | int] = {}


class Row(dict[str, str]):
    """The cells by column, and where they stand, as `labels.csv:3`."""

    def __init__(self, where: str, cells: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Keep the cells, and where they stand."""
        super().__init__(cells)
        self.where = where


def read_rows(path: Path, content: bytes, named: Mapping[str, str | int] = NO_COLUMNS) -> list[Row]:
    """Read the content of a table; `path` is for messages. Raises UserError.

    `named` says which columns have which meaning, by their names, or by their numbers in a text
    without a header.
    """
    bare = any(isinstance(column, int) for column in named.values())
    if content[:4] == b"PK\3\4":
        raise UserError(f"{path}: expected a table, got a spreadsheet or a zip; save it as CSV")
    if content[:4] == PARQUET:
        rows = _parquet(path, content)
    elif content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b"{"}:
        rows = _json(path, content)
    elif _AVA.match(content) and not bare:
        rows = _ava(path, content)
    else:
        rows = _csv(path, decode_text(path, content), bare)
    if not rows:
        got = "no rows below its header" if content.strip() else "no rows: it is empty"
        raise UserError(f"{path}: expected a header and a row per image, got {got}")
    return _renamed(path, rows, named) if named else rows


def _renamed(path: Path, rows: list[Row], named: Mapping[str, str | int]) -> list[Row]:
    """Return the rows with columns under the names of their meanings; one may have several."""
    theirs = {meaning: str(column) for meaning, column in named.items()}
    for meaning, column in theirs.items():
        if column not in rows[0]:
            raise UserError(
                f"{path}: expected a column {column} (download.sources: columns: {meaning});"
                f" got {', '.join(rows[0])[:200]}"
            )
    taken = {*theirs, *theirs.values()}
    return [
        Row(
            row.where,
            {meaning: row[column] for meaning, column in theirs.items()}
            | {column: cell for column, cell in row.items() if column not in taken},
        )
        for row in rows
    ]


def decode_text(path: Path, content: bytes) -> str:
    """Return the text of a table in UTF-8, or in UTF-16 if it says so, as Excel writes it."""
    wide = content[:2] in {b"\xff\xfe", b"\xfe\xff"}
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 text ({error.reason} {content[error.start]:#x});"
            " save it as UTF-8"
        ) from error


def _csv(path: Path, text: str, bare: bool = False) -> list[Row]:
    """Read rows of cells; a `bare` text has no header, and perhaps blanks between its cells."""
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    if bare and delimiter not in header:
        delimiter = " "
    # strict: a quotation mark left open would swallow every row after it
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True,
        skipinitialspace=delimiter == " ",
    )  # fmt: skip
    rows: list[Row] = []
    columns: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            where, line = f"{path}:{line}", reader.line_num + 1
            if columns is None:
                numbers = [str(number + 1) for number in range(len(cells))]
                columns = numbers if bare else _columns(where, cells)
                if not bare:
                    continue
            if cells:
                rows.append(Row(where, _fit(where, columns, cells)))
    except csv.Error as error:
        raise UserError(f"{path}:{line}: not valid CSV: {error}; correct that line") from error
    return rows


def _columns(where: str, cells: list[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise UserError(f"{where}: the column {', '.join(twice)} comes twice; rename one")
    return columns


def _fit(where: str, columns: list[str], cells: list[str]) -> Iterable[tuple[str, str]]:
    if len(cells) > len(columns) and any(cells[len(columns) :]):
        raise UserError(
            f"{where}: expected {len(columns)} cells, got {len(cells)};"
            " put cells that hold the separator in quotation marks"
        )
    cells = cells + [""] * (len(columns) - len(cells))
    return ((column, cell) for column, cell in zip(columns, cells, strict=False) if column)


def _ava(path: Path, content: bytes) -> list[Row]:
    columns = ["name", *(f"rating_{number + 1}" for number in range(_BINS))]
    rows = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != _BINS + 5 or not line.isascii() or not "".join(cells).isdigit():
            raise UserError(
                f"{path}:{number}: expected 15 numbers as in AVA.txt (index, image id, ten counts,"
                f" two tags, challenge); got {line[:80]!r}"
            )
        values = [f"{cells[1]}.jpg", *cells[2 : 2 + _BINS]]
        rows.append(Row(f"{path}:{number}", zip(columns, values, strict=True)))
    return rows


def _json(path: Path, content: bytes) -> list[Row]:
    try:
        items = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}; correct it") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UserError(
            f'{path}: expected a list as [{{"image_id": "1", "label": [votes per bin]}}];'
            " save the table so, or as CSV"
        )
    rows = [item_row(f"{path}: item {number}", item) for number, item in enumerate(items, 1)]
    _require_equal_bins(
        (row.where, sum(column.startswith("rating_") for column in row)) for row in rows
    )
    columns: set[str] = set().union(*rows) if rows else set()
    return [Row(row.where, {column: row.get(column, "") for column in columns}) for row in rows]


def item_row(where: str, item: dict[str, Any]) -> Row:
    """Return one object of JSON as a row; what is neither plain nor votes is left out."""
    cells: dict[str, str] = {}
    for column, value in item.items():
        if isinstance(value, list) and column in {"label", "ratings"}:
            if any(isinstance(vote, list | dict) for vote in value):
                raise UserError(f"{where}: {column}: expected counts of votes, got {value}")
            cells |= {f"rating_{n}": _cell(vote) for n, vote in enumerate(value, 1)}
        elif not isinstance(value, list | dict):
            cells["name" if column == "image_id" else column] = _cell(value)
    return Row(where, cells)


def _parquet(path: Path, content: bytes) -> list[Row]:
    import pyarrow as pa  # here, since scan imports this module and pyarrow takes a while
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a whole Parquet file: {error}; write it again") from error
    columns: dict[str, list[str]] = {}
    for field in table.schema:
        values = table[field.name].to_pylist() if _plain(field.type) else None
        if values is not None:
            columns[field.name] = [_cell(value) for value in values]
        elif field.name == "ratings" and pa.types.is_list(field.type):
            columns |= _votes(path, table["ratings"].to_pylist())
    rows = zip(*columns.values(), strict=True)
    return [
        Row(f"{path}: row {number}", zip(columns, cells, strict=True))
        for number, cells in enumerate(rows, 1)
    ]


def _require_equal_bins(rows: Iterable[tuple[str, int]]) -> None:
    """Raise UserError when votes, where there are any, are of different numbers of bins."""
    first: tuple[str, int] | None = None
    for where, bins in rows:
        if bins:
            first = first or (where, bins)
            if bins != first[1]:
                raise UserError(
                    f"{where}: expected {first[1]} votes as in {first[0]}, got {bins}; give a count"
                    " for each score bin"
                )


def _votes(path: Path, lists: list[list[Any] | None]) -> dict[str, list[str]]:
    """Take a column of lists apart."""
    _require_equal_bins((f"{path}: row {n}", len(votes or [])) for n, votes in enumerate(lists, 1))
    bins = max((len(votes) for votes in lists if votes), default=0)
    padded = [[*(votes or []), *[None] * (bins - len(votes or []))] for votes in lists]
    return {f"rating_{n + 1}": [_cell(votes[n]) for votes in padded] for n in range(bins)}


def _plain(kind: "pyarrow.DataType") -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))  # a class or a count that had an empty cell in its column
    return str(value)
