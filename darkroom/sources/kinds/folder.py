"""A folder of image files: which files belong to it, their keys, and labels from folder names.

Every regular file below the folder counts, whatever its name: bytes are judged by `clean`. Hidden
files and folders are passed over. Links to files are followed where they stay inside; with
`follow_links` all links are, wherever they lead, but never in a circle.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.explain import explain
from darkroom.core.params.download import DownloadParams, FolderSource
from darkroom.core.paths import is_url, original_root, resolve_path
from darkroom.sources import remote_files
from darkroom.sources.archives.members import printable
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.entries import Entry, Stream, Unreadable
from darkroom.sources.kinds import remote_folder
from darkroom.sources.label_tables.match import labels_by_name
from darkroom.sources.source_files import (
    Place,
    hash_cache_path,
    label_table,
    missing_label_table,
    read_table,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderFile:
    """One file of the folder; `key` is None when it cannot be read."""

    name: str  # relative, with forward slashes
    path: Path
    size: int
    key: str | None
    reason: str | None = None


def is_present(source: FolderSource, root: Path, params: DownloadParams) -> bool:
    """Return whether the folder can be reached from this machine."""
    if not is_url(source.path):
        return resolve_path(root, source.path).is_dir()
    try:
        return bool(remote_files.list_folder(source.path))
    except Unreadable:
        return False


def describe(source: FolderSource, root: Path, params: DownloadParams) -> dict[str, Any]:
    """Return what scan notes of the folder. Raises UserError."""
    table = _table(source, root, params)
    if is_url(source.path):
        found = remote_folder.list_files(source, table)
        lines = [f"{file.name}\0{file.version}\n" for file in found]
    else:
        listed = list_files(source, root, table)
        lines = [f"{file.name}\0{file.key or file.reason}\n" for file in listed]
    if table is not None:
        lines.append(f"\0labels\0{table.version}\n")
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {"kind": "folder", "files": len(lines) - (table is not None), "digest": digest}


def read_entries(source: FolderSource, root: Path, params: DownloadParams) -> list[Entry] | Stream:
    """Return the folder's files as entries, by name."""
    table = _table(source, root, params)
    if is_url(source.path):
        return remote_folder.read_entries(source, root, params, table)
    listed = list_files(source, root, table)
    content = None if table is None else read_table(table)
    names = [file.name for file in listed]
    labels = labels_by_name(source, table and Path(table.shown), content, names)
    return [
        Entry(
            name=file.name,
            uri=f"{source.path.rstrip('/')}/{file.name}",
            load=_loader(file, params.max_file_bytes),
            key=file.key if file.size <= params.max_file_bytes else None,
            labels=labels[file.name],
        )
        for file in listed
    ]


def _table(source: FolderSource, root: Path, params: DownloadParams) -> Place | None:
    """Return where the label table lies. Raises UserError when it is asked for and nowhere."""
    table = label_table(source, root, params)
    if source.labels and table is None:
        raise missing_label_table(source, root)
    return table


def list_files(source: FolderSource, root: Path, table: Place | None) -> list[FolderFile]:
    """Return the folder's files with their keys, by name, without the label table.

    Raises UserError when the folder is missing, cannot be read, or holds no file.
    """
    folder = resolve_path(root, source.path)
    _require_folder(source, folder)
    _require_foreign(source, folder, original_root(root))
    leave_out = None if table is None else table.fetch().stat()
    hashes = HashCache(hash_cache_path(root, source))
    listed = []
    for name, path in sorted(_walk(folder, source.follow_links)):
        file = _identify(name, path, hashes)
        if leave_out is None or not _is(path, leave_out):
            listed.append(file)
    if not listed:
        raise UserError(
            f"params.yaml: download.sources: path: {source.path}: no file in {folder}; "
            "put images there, or remove the source"
        )
    hashes.save()
    return listed


def _identify(name: str, path: Path, hashes: HashCache) -> FolderFile:
    try:
        note = hashes.of(name, path)
    except OSError as error:
        return FolderFile(name, path, 0, None, _reason(error))
    return FolderFile(name, path, note.size, note.key)


def _require_folder(source: FolderSource, folder: Path) -> None:
    where = f"params.yaml: download.sources: path: {source.path}"
    if not folder.exists():
        raise UserError(f"{where}: there is no folder {folder}; correct the path or create it")
    if not folder.is_dir():
        raise UserError(f"{where}: {folder} is a file; expected a folder (or use kind: list)")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(f"{where}: no permission to read {folder}; give yourself read access")


def _require_foreign(source: FolderSource, folder: Path, root: Path) -> None:
    """Raise UserError for a folder that holds what the pipeline itself writes."""
    folder = folder.resolve()
    own = root / "data" / "raw"
    if own.is_relative_to(folder) or folder.is_relative_to(own):
        raise UserError(
            f"params.yaml: download.sources: path: {source.path}: {own} is the pipeline's own"
            " output, which each run would take in again; give a folder that holds images alone"
        )


def _walk(folder: Path, follow: bool) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file that is not hidden; two names for a strange one differ."""
    inside = folder.resolve()
    outside = 0
    refused: list[OSError] = []
    given: Counter[str] = Counter()
    for parent, files in _folders(folder, follow, refused):
        for file in files:
            path = Path(parent) / file
            if file.startswith(".") or not path.is_file():
                continue
            if not follow and path.is_symlink() and not path.resolve().is_relative_to(inside):
                outside += 1
                continue
            name = printable(path.relative_to(folder).as_posix())
            given[name] += 1
            yield name if given[name] == 1 else f"{name}~{given[name]}", path
    if outside:
        logger.warning(
            "%s: %d links lead outside and are passed over; follow_links: true takes them in",
            folder, outside,
        )  # fmt: skip
    if refused:
        if isinstance(refused[0], PermissionError):
            raise UserError(
                f"no permission to read {refused[0].filename}; give yourself read access"
            )
        raise UserError(explain(refused[0]))


def _folders(folder: Path, follow: bool, refused: list[OSError]) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder that is not hidden with its files; one that contains itself only once."""
    above: dict[str, frozenset[tuple[int, int]]] = {}
    # os.walk, since Path.walk comes with Python 3.12
    for parent, folders, files in os.walk(folder, onerror=refused.append, followlinks=follow):
        if follow:
            status = Path(parent).stat()
            around = above.get(str(Path(parent).parent), frozenset())
            here = (status.st_dev, status.st_ino)
            if here in around:  # a link to a folder around it
                folders.clear()
                continue
            above[parent] = around | {here}
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield parent, sorted(files)


def _is(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), file)
    except OSError:
        return False


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission_denied"
    return "vanished" if isinstance(error, FileNotFoundError) else "unreadable"


def _loader(file: FolderFile, max_bytes: int) -> Callable[[], bytes]:
    if file.reason is not None:
        return partial(_refuse, file.reason)
    return partial(_load, file.path, max_bytes)


def _refuse(reason: str) -> bytes:
    raise Unreadable(reason)


def _load(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as handle:
            content = handle.read(max_bytes + 1)
    except OSError as error:
        raise Unreadable(_reason(error)) from error
    if len(content) > max_bytes:
        raise Unreadable("too_large")
    return content
