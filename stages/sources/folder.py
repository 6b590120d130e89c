"""A folder of image files: which files belong to it, their keys, and labels from folder names.

Every regular file below the folder counts, whatever its name: bytes are judged by `clean`. Hidden
files and folders are passed over; links are followed only where they stay inside.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from stages.lib.failures import UserError
from stages.lib.files import write_text
from stages.lib.params import FolderSource, resolve_path
from stages.sources.labels import has_labels, match, parse_rows, read_rows
from stages.sources.records import Entry, Labels, Unreadable

logger = logging.getLogger(__name__)

# A file changed this shortly before it was read may change again without a new time (git calls
# such entries racily clean); it is read again next time.
FRESH_NS = 2_000_000_000
_CHUNK = 2**20


class Seen(NamedTuple):
    """What a file looked like when its key was computed."""

    size: int
    mtime_ns: int
    key: str


@dataclass(frozen=True)
class Listed:
    """One file of the folder; `key` is None when it cannot be read."""

    name: str  # relative, with forward slashes
    path: Path
    size: int
    key: str | None
    reason: str | None = None


def is_present(source: FolderSource, root: Path) -> bool:
    """Return whether the folder exists on this machine."""
    return resolve_path(root, source.path).is_dir()


def label_table(source: FolderSource, root: Path) -> Path | None:
    """Return where the label table lies: below the repository, or in the source's folder."""
    if source.labels is None:
        return None
    places = [
        resolve_path(root, source.labels),
        resolve_path(root, source.path) / source.labels,
    ]
    for place in places:
        if place.is_file():
            return place
    tried = " and ".join(str(place) for place in dict.fromkeys(places))
    raise UserError(
        f"params.yaml: download.sources: labels: {source.labels} is not there; tried {tried}"
    )


def list_files(source: FolderSource, root: Path, cache: Path) -> list[Listed]:
    """Return the folder's files with their keys, by name; keys come from `cache` where it holds.

    Raises UserError when the folder is missing, cannot be read, or holds no file.
    """
    folder = resolve_path(root, source.path)
    _require_folder(source, folder)
    table = label_table(source, root)
    known, seen, listed = _read_cache(cache), {}, []
    now = time.time_ns()
    for name, path in sorted(_walk(folder)):
        if table is not None and path.samefile(table):
            continue
        file, note = _identify(name, path, known.get(name))
        listed.append(file)
        if note is not None and note.mtime_ns < now - FRESH_NS:
            seen[name] = note
    if not listed:
        raise UserError(
            f"params.yaml: download.sources: path: {source.path}: no file in {folder}; "
            "put images there, or remove the source"
        )
    if seen != known:
        _write_cache(cache, seen)
    return listed


def read_labels(source: FolderSource, root: Path, names: list[str]) -> dict[str, Labels]:
    """Return the labels by name: from the table or the folders' names, and the split likewise."""
    table = label_table(source, root)
    labels: dict[str, Labels] = {}
    if table is not None:
        rows = read_rows(table)
        parsed = parse_rows(table, rows, "name")
        if not has_labels(table, rows):
            raise UserError(
                f"{table}: expected a column label, mean, rating_1 …, group or split; "
                f"got {', '.join(rows[0])}"
            )
        labels = match(table, parsed, names)
    return {name: _from_folders(source, name, labels.get(name, Labels())) for name in names}


def read_entries(source: FolderSource, root: Path, cache: Path, max_bytes: int) -> list[Entry]:
    """Return the folder's files as entries, by name."""
    listed = list_files(source, root, cache)
    labels = read_labels(source, root, [file.name for file in listed])
    return [
        Entry(
            name=file.name,
            uri=f"{source.path.rstrip('/')}/{file.name}",
            load=_loader(file, max_bytes),
            key=file.key if file.size <= max_bytes else None,
            labels=labels[file.name],
        )
        for file in listed
    ]


def _require_folder(source: FolderSource, folder: Path) -> None:
    where = f"params.yaml: download.sources: path: {source.path}"
    if not folder.exists():
        raise UserError(f"{where}: there is no folder {folder}; correct the path or create it")
    if not folder.is_dir():
        raise UserError(f"{where}: {folder} is a file; expected a folder (or use kind: list)")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(f"{where}: no permission to read {folder}; give yourself read access")


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    inside = folder.resolve()
    outside = 0
    refused: list[OSError] = []
    # os.walk, since Path.walk comes with Python 3.12
    for parent, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(parent) / name
            if name.startswith(".") or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                outside += 1
                continue
            yield _printable(path.relative_to(folder).as_posix()), path
    if outside:
        logger.warning("%s: %d links lead outside and are passed over", folder, outside)
    if refused:
        raise UserError(f"no permission to read {refused[0].filename}; give yourself read access")


def _printable(name: str) -> str:
    """Return a name that UTF-8 can hold, whatever bytes the file system has."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _identify(name: str, path: Path, known: Seen | None) -> tuple[Listed, Seen | None]:
    try:
        status = path.stat()
        if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            key = known.key
        else:
            key = _hash(path)
    except OSError as error:
        return Listed(name, path, 0, None, _reason(error)), None
    note = Seen(status.st_size, status.st_mtime_ns, key)
    return Listed(name, path, status.st_size, key), note


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:32]  # as lib.shards.key_of


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission_denied"
    return "vanished" if isinstance(error, FileNotFoundError) else "unreadable"


def _loader(file: Listed, max_bytes: int) -> Callable[[], bytes]:
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


def _from_folders(source: FolderSource, name: str, labels: Labels) -> Labels:
    parents = PurePosixPath(name).parts[:-1]
    if source.label_from == "parent" and parents:
        labels = replace(labels, label=parents[-1])
    depth = {"parent": 1, "grandparent": 2}.get(source.split_from or "", 0)
    if depth and len(parents) >= depth and labels.official_split is None:
        labels = replace(labels, official_split=parents[-depth])
    return labels


def _read_cache(path: Path) -> dict[str, Seen]:
    """Read lines of size, time, key and name; a file that is not as written counts as empty."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        rows = [line.split("\t", 3) for line in lines if line]
        return {name: Seen(int(size), int(mtime), key) for size, mtime, key, name in rows}
    except (OSError, ValueError):
        return {}


def _write_cache(path: Path, seen: dict[str, Seen]) -> None:
    # A name with a line break would be two lines: such a file is read anew each time.
    lines = [
        f"{note.size}\t{note.mtime_ns}\t{note.key}\t{name}\n"
        for name, note in sorted(seen.items())
        if "\n" not in name
    ]
    write_text(path, "".join(lines))
