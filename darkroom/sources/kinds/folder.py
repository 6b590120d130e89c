"""A folder of files, on this machine or on a remote store; labels may be its folders' names.

Every regular file below the folder counts, whatever its name: bytes are checked by `clean`.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.params.download import DownloadParams, FolderSource
from darkroom.core.paths import is_url, original_root, resolve_path
from darkroom.images.find_files import find_files
from darkroom.sources import remote_files
from darkroom.sources.archives.members import printable
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.entries import Entry, EntryStream, Unreadable
from darkroom.sources.kinds import remote_folder
from darkroom.sources.label_tables.match import labels_by_name
from darkroom.sources.source_files import SourceFile, find_label_tables, hash_cache_path


@dataclass(frozen=True)
class Folder:
    """A folder, as params.yaml gives it."""

    source: FolderSource
    root: Path
    params: DownloadParams

    def is_present(self) -> bool:
        """Return whether the folder can be reached from this machine."""
        if not is_url(self.source.path):
            return resolve_path(self.root, self.source.path).is_dir()
        try:
            return bool(remote_files.list_folder(self.source.path))
        except Unreadable:
            return False

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of the folder. Raises UserError."""
        tables = self._tables()
        if is_url(self.source.path):
            remote = remote_folder.list_files(self.source, tables)
            lines = [f"{file.name}\0{file.version}\n" for file in remote]
        else:
            local = _list_files(self.source, self.root, tables)
            lines = [f"{file.name}\0{file.key or file.reason}\n" for file in local]
        files = len(lines)
        lines += [f"\0labels\0{table.version}\n" for table in tables]
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
        return {"kind": "folder", "files": files, "digest": digest}

    def list_entries(self) -> EntryStream:
        """Return the folder's files as entries, by name. Raises UserError."""
        tables = self._tables()
        if is_url(self.source.path):
            return remote_folder.list_entries(self.source, self.root, self.params, tables)
        files = _list_files(self.source, self.root, tables)
        labels = labels_by_name(self.source, tables, [file.name for file in files])
        entries = [
            Entry(
                name=file.name,
                uri=f"{self.source.path.rstrip('/')}/{file.name}",
                load=partial(_load, file, self.params.max_file_bytes),
                key=file.key if file.size <= self.params.max_file_bytes else None,
                labels=labels[file.name],
            )
            for file in files
        ]
        return EntryStream(iter(entries), len(entries))

    def _tables(self) -> list[SourceFile]:
        """Return the label tables, all of which are outside an archive. Raises UserError."""
        found = find_label_tables(self.source, self.root, self.params)
        return [table for table in found.values() if table is not None]


@dataclass(frozen=True)
class _File:
    """One file of the folder; `key` is None when it cannot be read."""

    name: str  # relative, with forward slashes
    path: Path
    size: int
    key: str | None
    reason: str | None = None


def _list_files(source: FolderSource, root: Path, tables: list[SourceFile]) -> list[_File]:
    """Return the folder's files with their keys, by name, without the label tables.

    Raises UserError when the folder is missing, cannot be read, or holds no file.
    """
    folder = resolve_path(root, source.path)
    _require_folder(source, folder)
    _refuse_own_output(source, folder, original_root(root))
    leave_out = [table.path().stat() for table in tables]
    hashes = HashCache(hash_cache_path(root, source))
    files = []
    for name, path in sorted(_named(folder, source.follow_links)):
        try:
            state = hashes.look_up(name, path)
            file = _File(name, path, state.size, state.key)
        except OSError as error:
            file = _File(name, path, 0, None, _reason(error))
        if not any(_is_same_file(path, table) for table in leave_out):
            files.append(file)
    if not files:
        raise UserError(
            f"params.yaml: download.sources: path: {source.path}: no file in {folder}; "
            "put images there, or remove the source"
        )
    hashes.save()
    return files


def _named(folder: Path, follow_links: bool) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file; two files never have the same name."""
    count: Counter[str] = Counter()
    above = len(str(folder / "x")) - 1
    for path in find_files(folder, follow_links):
        name = printable(str(path)[above:].replace(os.sep, "/"))
        count[name] += 1
        yield name if count[name] == 1 else f"{name}~{count[name]}", path


def _require_folder(source: FolderSource, folder: Path) -> None:
    where = f"params.yaml: download.sources: path: {source.path}"
    if not folder.exists():
        raise UserError(f"{where}: there is no folder {folder}; correct the path or create it")
    if not folder.is_dir():
        raise UserError(f"{where}: {folder} is a file; expected a folder (or use kind: list)")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(f"{where}: no permission to read {folder}; give yourself read access")


def _refuse_own_output(source: FolderSource, folder: Path, root: Path) -> None:
    """Raise UserError for a folder that holds what the pipeline itself writes."""
    folder = folder.resolve()
    own = root / "data" / "raw"
    if own.is_relative_to(folder) or folder.is_relative_to(own):
        raise UserError(
            f"params.yaml: download.sources: path: {source.path}: {own} is the pipeline's own"
            " output, which each run would take in again; give a folder that holds images alone"
        )


def _is_same_file(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:
        return False


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission_denied"
    return "vanished" if isinstance(error, FileNotFoundError) else "unreadable"


def _load(file: _File, max_bytes: int) -> bytes:
    if file.reason is not None:
        raise Unreadable(file.reason)
    try:
        with file.path.open("rb", buffering=0) as handle:
            # its size now, and one more: making room for max_bytes costs more than reading
            content = handle.read(min(os.fstat(handle.fileno()).st_size, max_bytes) + 1)
    except OSError as error:
        raise Unreadable(_reason(error)) from error
    if len(content) > max_bytes:
        raise Unreadable("too_large")
    return content
