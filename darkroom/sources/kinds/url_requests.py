"""The lines of a list of image URLs: CSV, TSV or Parquet with a column of URLs, or plain text."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.params.download import ListSource
from darkroom.core.paths import is_url, resolve_path, without_secrets
from darkroom.sources.entries import Labels
from darkroom.sources.http.checksums import Checksum, parse_checksum
from darkroom.sources.label_tables.match import parse_rows
from darkroom.sources.label_tables.read import PARQUET, Row, decode_text, read_rows
from darkroom.sources.source_files import SourceFile

_UNLABELLED = Labels()


class Request(NamedTuple):
    """One line of the list."""

    name: str
    uri: str
    url: str  # may hold credentials: never written to a table or a log
    labels: Labels
    checksum: Checksum | None = None

    @property
    def digest(self) -> str:
        """Return what names this request in the journal: equal for equal URL and checksum."""
        return digest_of(self.url + (f"\0{self.checksum.digest.hex()}" if self.checksum else ""))


def read_requests(source: ListSource, root: Path, file: SourceFile) -> list[Request]:
    """Return the lines of the list, in order. Raises UserError when there are none."""
    content = file.read()
    path = Path(file.shown) if is_url(source.path) else resolve_path(root, source.path)
    if path.suffix.lower() in {".csv", ".tsv"} or content[:4] == PARQUET:
        table = _read_table(path, content, source)
    else:
        lines = (line.strip() for line in decode_text(path, content).splitlines())
        table = [(line, _UNLABELLED, None) for line in lines if line and line[0] != "#"]
    table = [row for row in table if row[0]]
    if not table:
        raise UserError(
            f"params.yaml: download.sources: path: {source.shown_path}: no URL in {path}; "
            "expected one per line"
        )
    return _named(table)


_Line = tuple[str, Labels, Checksum | None]


def _read_table(path: Path, content: bytes, source: ListSource) -> list[_Line]:
    rows, column = read_rows(path, content), source.checksum_column
    if column is None:
        return [(url, labels, None) for url, labels in parse_rows(path, rows, source.url_column)]
    if column not in rows[0]:
        raise UserError(
            f"{path}: expected a column `{column}` (download.sources: checksum_column); got "
            f"{', '.join(rows[0])}"
        )
    checksums = [_checksum(row, column, row.where) for row in rows]
    parsed = parse_rows(path, rows, source.url_column, {column})
    return [(*line, sum_) for line, sum_ in zip(parsed, checksums, strict=True)]


def _checksum(row: Row, column: str, where: str) -> Checksum | None:
    try:
        return parse_checksum(row[column])
    except ValueError as error:
        raise UserError(f"{where}: column {column}: {error}; correct or empty the cell") from error


def digest_of(url: str) -> str:
    """Return what names a URL where it must not be read."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _named(table: list[_Line]) -> list[Request]:
    """Name each line by its URL without secrets; what that hides goes in as a short digest."""
    count: Counter[str] = Counter()
    requests = []
    for url, labels, checksum in table:
        uri = without_secrets(url)
        uri = url if uri == url else uri  # one string in memory
        name = uri if url == uri else f"{uri}#{digest_of(url)[:8]}"
        count[name] += 1
        if count[name] > 1:
            name = f"{name}~{count[name]}"  # the same URL again: another record, equal bytes
        requests.append(Request(name, uri, url, labels, checksum))
    return requests
