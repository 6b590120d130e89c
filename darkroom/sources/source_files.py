"""Files that a source is made of, here or elsewhere: what version each has, and where to read it.

A local file's version is the hash of its content, kept by path, size and time; a remote one's is
what its server says of it, so that nothing is fetched to see that nothing has changed.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.explain import explain
from darkroom.core.params.download import (
    DownloadParams,
    FolderSource,
    LabelledSource,
    LocatedSource,
    WebDatasetSource,
)
from darkroom.core.paths import is_url, original_root, resolve_path, without_secrets
from darkroom.sources import remote_files
from darkroom.sources.content_hashes import HashCache, hash_file
from darkroom.sources.entries import Unreadable, Version
from darkroom.sources.failure_reasons import REASONS

SCAN_CACHE = Path(".darkroom/scan")


class Place(NamedTuple):
    """One file."""

    shown: str  # for tables and messages, without secrets
    version: str  # changes when the content does
    fetch: Callable[[], Path]  # where it lies on this disk; raises Unreadable


def hash_cache_path(root: Path, source: LocatedSource) -> Path:
    """Return the file of known content hashes; `dvc exp run --temp` shares the original's."""
    digest = hashlib.sha256(source.path.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return original_root(root) / SCAN_CACHE / f"{digest}.tsv"


def here(shown: str, path: Path, hashes: HashCache) -> Place:
    """Return the place of a local file. Raises OSError."""
    return Place(shown, hashes.of(str(path), path).key, lambda: path)


def there(url: str, version: Version, root: Path, params: DownloadParams) -> Place:
    """Return the place of a remote file."""
    limit = params.max_archive_bytes
    fetch = partial(remote_files.fetch_to_cache, url, version, root, params, limit)
    # Files that came to a server together may be equal in size and ETag (nginx makes it of both and
    # the second). Of a URL that is signed anew each day the path is enough, if there is a token.
    named = without_secrets(url) if version.token else url
    told = hashlib.sha256(f"{named}\0{version}".encode("utf-8", "surrogatepass")).hexdigest()
    return Place(without_secrets(url), told, fetch)


def find(path: str, root: Path, params: DownloadParams, hashes: HashCache) -> Place:
    """Return the place of one file of params.yaml. Raises UserError."""
    if is_url(path):
        return _reached(path, root, params)
    file = resolve_path(root, path)
    where = f"params.yaml: download.sources: path: {path}"
    try:
        if file.is_dir():
            raise UserError(f"{where}: {file} is a folder; expected a file (or use kind: folder)")
        return here(path, file, hashes)
    except FileNotFoundError as error:
        raise UserError(f"{where}: there is no file {file}; correct the path") from error
    except OSError as error:
        raise UserError(f"{where}: cannot read {explain(error)}") from error


def _reached(url: str, root: Path, params: DownloadParams) -> Place:
    version = remote_files.versions([url], params)[url]
    if isinstance(version, Unreadable):
        raise unreachable(url, version)
    return there(url, version, root, params)


def _small(shown: str, path: Path) -> Place:
    try:
        return Place(shown, hash_file(path), lambda: path)
    except OSError as error:
        raise UserError(f"cannot read {explain(error)}") from error


def unreachable(url: str, failure: Unreadable) -> UserError:
    """Return the error of a remote file that cannot be had."""
    shown = without_secrets(url) if is_url(url) else url
    meaning = REASONS.get(failure.reason) if failure.words == failure.reason else None
    return UserError(
        f"params.yaml: download.sources: {shown} cannot be reached: {failure.words}"
        f"{f' ({meaning})' if meaning else ''}; correct the URL, or the access to it"
    )


def is_reachable(path: str, root: Path, params: DownloadParams) -> bool:
    """Return whether a file of params.yaml can be reached from this machine."""
    if is_url(path):
        return isinstance(remote_files.versions([path], params)[path], Version)
    return resolve_path(root, path).is_file()


def label_table(
    source: LabelledSource | WebDatasetSource, root: Path, params: DownloadParams
) -> Place | None:
    """Return the label table below the repository or beside the source, None where neither has it.

    Raises UserError when it is a URL that cannot be reached.
    """
    if source.labels is None:
        return None
    if is_url(source.labels):
        return _reached(source.labels, root, params)
    for place in table_places(source, root):
        if is_url(place):
            version = remote_files.versions([place], params)[place]
            if isinstance(version, Version):
                return there(place, version, root, params)
        elif Path(place).is_file():
            return _small(source.labels, Path(place))
    return None


def table_places(source: LabelledSource | WebDatasetSource, root: Path) -> list[str]:
    """Return where a label table may lie: below the repository, or with the source."""
    name = source.labels or ""
    inside = isinstance(source, FolderSource)
    places = [str(resolve_path(root, name))]
    if is_url(source.path):
        places.append(remote_files.sibling(f"{source.path.rstrip('/')}{'/x' * inside}", name))
    else:
        folder = resolve_path(root, source.path)
        places.append(str((folder if inside else folder.parent) / name))
    return list(dict.fromkeys(places))


def read_table(place: Place) -> bytes:
    """Return the content of a label table. Raises UserError."""
    try:
        return place.fetch().read_bytes()
    except Unreadable as failure:
        raise unreachable(place.shown, failure) from failure
    except OSError as error:
        raise UserError(f"cannot read {explain(error)}") from error


def missing_label_table(
    source: LabelledSource | WebDatasetSource, root: Path, also: str = ""
) -> UserError:
    """Return the error of a label table that is nowhere."""
    tried = " and ".join(without_secrets(p) if is_url(p) else p for p in table_places(source, root))
    return UserError(
        f"params.yaml: download.sources: labels: {source.labels} is not there; tried {tried}{also}"
    )
