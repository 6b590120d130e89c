"""A list of image URLs, each line of which is a record: CSV, TSV or Parquet, or plain text.

A URL that was fetched is never fetched again; one that failed in a finished run keeps its reason,
until the setting that caused it changes, or `make retry` takes it away. A run that was stopped is
resumed; what failed in it is tried again if it may pass.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.params.download import DownloadParams, ListSource
from darkroom.core.paths import is_url, resolve_path, without_secrets
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.entries import Entry, Labels, refuse
from darkroom.sources.failure_reasons import is_cured
from darkroom.sources.http.checksums import Checksum, parse_checksum
from darkroom.sources.label_tables.match import parse_rows
from darkroom.sources.label_tables.read import PARQUET, Row, decode_text, read_rows
from darkroom.sources.source_files import SourceFile, find_file, hash_cache_path, is_reachable

if TYPE_CHECKING:
    from darkroom.sources.store.journal import Journal, Outcome
    from darkroom.sources.store.raw_store import RawStore

_UNLABELLED = Labels()


@dataclass(frozen=True)
class UrlList:
    """A list on this machine, or elsewhere."""

    source: ListSource
    root: Path
    params: DownloadParams

    def is_present(self) -> bool:
        """Return whether the list can be reached from this machine."""
        return is_reachable(self.source.path, self.root, self.params)

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of the list. Raises UserError."""
        return {"kind": "list", "digest": self._file().version}

    def list_entries(self) -> "_UrlEntries":
        """Return the lines of the list as entries, in its order. Raises UserError."""
        return _UrlEntries(_read_requests(self.source, self.root, self._file()), self)

    def _file(self) -> SourceFile:
        hashes = HashCache(hash_cache_path(self.root, self.source))
        return find_file(self.source.path, self.root, self.params, hashes)


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


def _read_requests(source: ListSource, root: Path, file: SourceFile) -> list[Request]:
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
    rows, column = read_rows(path, content, source.columns), source.checksum_column
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


class _UrlEntries:
    """The requests of one list, fetched while they are read."""

    def __init__(self, requests: list[Request], url_list: UrlList) -> None:
        """Keep what is to be fetched."""
        self.expected = len(requests)
        self._requests, self._list = requests, url_list

    def read(
        self, store: "RawStore", journal: "Journal", advance: Callable[[int], None]
    ) -> Iterator[Entry]:
        """Yield each request as an entry; bodies are dropped when `store` has them in a shard."""
        # here: they bring aiohttp and pandas
        from darkroom.sources.http.fetch import fetch_all
        from darkroom.sources.http.response import Job
        from darkroom.sources.store.raw_store import TOTAL_LIMIT

        requests, source = self._requests, self._list.source.title
        params = self._list.params
        stored = store.stored_keys(source)
        failed = {
            name: reason
            for name, reason in store.failures(source).items()
            if not is_cured(reason, params)
        }
        outcomes = _usable(journal, store, params)
        digests = {
            request.name: request.digest
            for request in requests
            if request.name not in stored and request.name not in failed
        }
        wanted = {
            digest: Job(digest, request.url, request.checksum)
            for request in requests
            if (digest := digests.get(request.name)) is not None and digest not in outcomes
        }
        advance(len(requests) - len(wanted))
        uses = Counter(digests.values())
        fetched = fetch_all(list(wanted.values()), journal, params, advance)
        waiting: dict[str, Outcome] = {}  # what is fetched and not in a shard yet
        written = store.writer.written
        try:
            for request in requests:
                digest = digests.get(request.name)
                if digest is None:
                    yield _entry(request, stored.get(request.name), failed.get(request.name))
                    continue
                if store.full:
                    fetched.close()
                    yield _entry(request, None, TOTAL_LIMIT)
                    continue
                outcome = outcomes[digest] if digest in outcomes else next(fetched)
                uses[digest] -= 1
                if uses[digest]:
                    outcomes[digest] = outcome  # the same URL comes again
                if outcome.key is None:
                    yield _entry(request, None, outcome.reason)
                    continue
                load = partial(journal.read, outcome)
                yield Entry(request.name, request.uri, load, outcome.key, request.labels)
                waiting[digest] = outcome
                if written != store.writer.written:
                    written = store.writer.written
                    done = [d for d, each in waiting.items() if store.writer.is_written(each.key)]
                    journal.drop(waiting.pop(each) for each in done)
        finally:
            fetched.close()


def _usable(journal: "Journal", store: "RawStore", params: DownloadParams) -> dict[str, "Outcome"]:
    """Return the outcomes of a stopped run that hold now."""
    from darkroom.sources.http.fetch import is_transient  # here: it brings aiohttp

    usable, needed = {}, []
    for digest, outcome in journal.outcomes().items():
        if outcome.key is None:
            reason = str(outcome.reason)
            if not is_transient(reason) and not is_cured(reason, params):
                usable[digest] = outcome
        elif outcome.key in store.writer or outcome.key in store.purged:
            usable[digest] = outcome._replace(location=None)
        elif journal.holds(outcome):
            usable[digest] = outcome
            needed.append(outcome)
    journal.adopt(needed)
    return usable


def _entry(request: Request, key: str | None, reason: str | None) -> Entry:
    """Return an entry without bytes: they are stored, or cannot be had."""
    load = partial(refuse, reason or "vanished")
    return Entry(request.name, request.uri, load, key, request.labels)
