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
from darkroom.core.params import download
from darkroom.core.params.download import DownloadParams, TabledSource
from darkroom.core.paths import is_url, original_root, resolve_path, without_secrets
from darkroom.sources import remote_files
from darkroom.sources.content_hashes import HashCache, hash_file
from darkroom.sources.entries import Unreadable, Version
from darkroom.sources.failure_reasons import REASONS

SCAN_CACHE = Path(".darkroom/scan")


class SourceFile(NamedTuple):
    """One file of a source."""

    shown: str  # for tables and messages, without secrets
    version: str  # changes when the content does
    fetch: Callable[[], Path]  # where it lies on this disk; raises Unreadable

    def path(self) -> Path:
        """Return where it lies on this disk, fetched if it must be. Raises UserError."""
        try:
            return self.fetch()
        except Unreadable as failure:
            raise unreachable(self.shown, failure) from failure

    def read(self) -> bytes:
        """Return its content. Raises UserError."""
        try:
            return self.path().read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {explain(error)}") from error


def hash_cache_path(root: Path, source: download.LocatedSource) -> Path:
    """Return the file of known content hashes; `dvc exp run --temp` shares the original's."""
    digest = hashlib.sha256(source.path.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return original_root(root) / SCAN_CACHE / f"{digest}.tsv"


def local_file(shown: str, path: Path, hashes: HashCache) -> SourceFile:
    """Return a local file with its version. Raises OSError."""
    return SourceFile(shown, hashes.look_up(str(path), path).key, lambda: path)


def remote_file(url: str, version: Version, root: Path, params: DownloadParams) -> SourceFile:
    """Return a remote file, which is fetched once it is wanted."""
    limit = params.max_archive_bytes
    fetch = partial(remote_files.fetch_to_cache, url, version, root, params, limit)
    # Files that came to a server together may be equal in size and ETag (nginx makes it of both and
    # the second). Of a URL that is signed again each day the path is enough, if there is a token.
    named = without_secrets(url) if version.token else url
    digest = hashlib.sha256(f"{named}\0{version}".encode("utf-8", "surrogatepass")).hexdigest()
    return SourceFile(without_secrets(url), digest, fetch)


def find_file(path: str, root: Path, params: DownloadParams, hashes: HashCache) -> SourceFile:
    """Return the file that a path or URL of params.yaml means. Raises UserError."""
    if is_url(path):
        return _find_remote(path, root, params)
    file = resolve_path(root, path)
    where = f"params.yaml: download.sources: path: {path}"
    try:
        if file.is_dir():
            raise UserError(f"{where}: {file} is a folder; expected a file (or use kind: folder)")
        return local_file(path, file, hashes)
    except FileNotFoundError as error:
        raise UserError(f"{where}: there is no file {file}; correct the path") from error
    except OSError as error:
        raise UserError(f"{where}: cannot read {explain(error)}") from error


def _find_remote(url: str, root: Path, params: DownloadParams) -> SourceFile:
    version = remote_files.versions([url], params)[url]
    if isinstance(version, Unreadable):
        raise unreachable(url, version)
    return remote_file(url, version, root, params)


def unreachable(url: str, failure: Unreadable) -> UserError:
    """Return the error of a remote file that cannot be had."""
    shown = without_secrets(url) if is_url(url) else url
    meaning = REASONS.get(failure.reason) if failure.message == failure.reason else None
    return UserError(
        f"params.yaml: download.sources: {shown} cannot be reached: {failure.message}"
        f"{f' ({meaning})' if meaning else ''}; correct the URL, or the access to it"
    )


def is_reachable(path: str, root: Path, params: DownloadParams) -> bool:
    """Return whether a file of params.yaml can be reached from this machine."""
    if is_url(path):
        return isinstance(remote_files.versions([path], params)[path], Version)
    return resolve_path(root, path).is_file()


def find_label_tables(
    source: TabledSource, root: Path, params: DownloadParams
) -> dict[str, SourceFile | None]:
    """Return each label table: below the repository, or beside the source. Raises UserError.

    None for one that only the archive itself may still hold.
    """
    return {name: _find_label_table(source, name, root, params) for name in source.labels}


def _find_label_table(
    source: TabledSource, name: str, root: Path, params: DownloadParams
) -> SourceFile | None:
    if is_url(name):
        return _find_remote(name, root, params)
    for path in _label_table_paths(source, name, root):
        if is_url(path):
            version = remote_files.versions([path], params)[path]
            if isinstance(version, Version):
                return remote_file(path, version, root, params)
        elif (file := Path(path)).is_file():
            try:
                return SourceFile(name, hash_file(file), partial(Path, file))
            except OSError as error:
                raise UserError(f"cannot read {explain(error)}") from error
    if isinstance(source, download.ArchiveSource):
        return None
    raise missing_label_table(source, name, root)


def _label_table_paths(source: TabledSource, name: str, root: Path) -> list[str]:
    """Return where a label table may lie: below the repository, or with the source."""
    inside = isinstance(source, download.FolderSource)
    paths = [str(resolve_path(root, name))]
    if is_url(source.path):
        paths.append(remote_files.sibling(f"{source.path.rstrip('/')}{'/x' * inside}", name))
    else:
        folder = resolve_path(root, source.path)
        paths.append(str((folder if inside else folder.parent) / name))
    return list(dict.fromkeys(paths))


def missing_label_table(source: TabledSource, name: str, root: Path, also: str = "") -> UserError:
    """Return the error of a label table that is nowhere."""
    paths = _label_table_paths(source, name, root)
    tried = " and ".join(without_secrets(path) if is_url(path) else path for path in paths)
    return UserError(
        f"params.yaml: download.sources: labels: {name} is not there; tried {tried}{also}"
    )
