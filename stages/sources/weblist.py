"""A list of image URLs: a CSV with a column of URLs and label columns, or a text file of URLs."""

import hashlib
import logging
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from stages.lib.failures import UserError
from stages.lib.params import ListSource, resolve_path
from stages.sources.labels import parse_rows
from stages.sources.records import Entry, Labels, Unreadable
from stages.sources.tables import read_rows

logger = logging.getLogger(__name__)


class Request(NamedTuple):
    """One line of the list."""

    name: str
    uri: str
    url: str  # may hold credentials: never written to a table or a log
    labels: Labels


def is_present(source: ListSource, root: Path) -> bool:
    """Return whether the list exists on this machine."""
    return resolve_path(root, source.path).is_file()


def read_content(source: ListSource, root: Path) -> bytes:
    """Return the list as it lies on disk. Raises UserError."""
    path = resolve_path(root, source.path)
    where = f"params.yaml: download.sources: path: {source.path}"
    if path.is_dir():
        raise UserError(f"{where}: {path} is a folder; expected a file (or use kind: folder)")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{where}: there is no file {path}; correct the path") from error
    except OSError as error:
        raise UserError(f"{where}: cannot read {path}: {error.strerror}") from error


def read_requests(source: ListSource, root: Path) -> list[Request]:
    """Return the lines of the list, in order. Raises UserError when there are none."""
    content = read_content(source, root)
    path = resolve_path(root, source.path)
    if path.suffix.lower() in {".csv", ".tsv"}:
        table = parse_rows(path, read_rows(path), source.url_column)
    else:
        lines = (line.strip() for line in content.decode("utf-8-sig", "replace").splitlines())
        table = [(line, Labels()) for line in lines if line and not line.startswith("#")]
    table = [(url, labels) for url, labels in table if url]
    if not table:
        raise UserError(
            f"params.yaml: download.sources: path: {source.path}: no URL in {path}; "
            "expected one per line"
        )
    return _named(table)


def without_secrets(url: str) -> str:
    """Return the URL without credentials, query and fragment; these may hold passwords or keys."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "invalid-url"
    return f"{parts.scheme}://{host}{parts.path}" if host else "invalid-url"


def entries(
    requests: list[Request], stored: dict[str, str], failures: dict[str, str], bodies: Path
) -> list[Entry]:
    """Return the requests as entries; `stored` gives the key by name of what was fetched before."""
    return [
        Entry(
            name=request.name,
            uri=request.uri,
            load=partial(_load, bodies / body_name(request.url), failures.get(request.url)),
            key=stored.get(request.name),
            labels=request.labels,
        )
        for request in requests
    ]


def body_name(url: str) -> str:
    """Return the file name under which a fetched body waits for its shard."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


def _load(path: Path, reason: str | None) -> bytes:
    if reason is not None:
        raise Unreadable(reason)
    return path.read_bytes()


def _named(table: list[tuple[str, Labels]]) -> list[Request]:
    """Name each line by its URL without secrets; what that hides goes in as a short digest."""
    seen: Counter[str] = Counter()
    requests = []
    for url, labels in table:
        uri = without_secrets(url)
        name = uri if url == uri else f"{uri}#{body_name(url)[:8]}"
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name}~{seen[name]}"  # the same URL again: another record, equal bytes
        requests.append(Request(name, uri, url, labels))
    return requests
