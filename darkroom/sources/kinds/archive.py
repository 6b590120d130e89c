"""A zip, or a tar that may be packed: each regular file in it is a record.

The kind is told by the bytes. Members stream into the store and are never written to disk by their
names. What is refused, and why, is a row (see `reasons`); what comes before the place at which a
tar breaks off arrives, and that place is a row as well. A zip that is cut off has lost its table of
contents and stops the stage. Without a note of an earlier pass an archive is read once; a packed
tar with a label table twice, the first time for its names, so that a wrong table stops at once.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.params.download import ArchiveSource, DownloadParams
from darkroom.sources.archives import tar, zip
from darkroom.sources.archives.decompress import Unpacked, packing
from darkroom.sources.archives.listing import Listing, Record
from darkroom.sources.archives.members import (
    BrokenArchive,
    Limits,
    Member,
    check_member_name,
    refuse_duplicates,
)
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.entries import Entry, Labels, Stream, Unreadable
from darkroom.sources.label_tables.match import add_folder_labels, check_folder_depth, read_labels
from darkroom.sources.source_files import (
    Place,
    find,
    hash_cache_path,
    is_reachable,
    label_table,
    missing_label_table,
    read_table,
    unreachable,
)

# What else people give: formats that no maintained library here reads.
OTHERS = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x1f\x9d": "compress"}


def is_present(source: ArchiveSource, root: Path, params: DownloadParams) -> bool:
    """Return whether the archive can be reached from this machine."""
    return is_reachable(source.path, root, params)


def describe(source: ArchiveSource, root: Path, params: DownloadParams) -> dict[str, Any]:
    """Return what scan notes of the archive. Raises UserError."""
    place, table = _places(source, root, params)
    text = f"{place.version}\0{table.version if table else None}"
    return {"kind": "archive", "digest": hashlib.sha256(text.encode()).hexdigest()}


def read_entries(source: ArchiveSource, root: Path, params: DownloadParams) -> Stream:
    """Return the archive's files as entries, in its order. Raises UserError."""
    place, table = _places(source, root, params)
    limits = limits_of(params)
    through = partial(_pass, place, limits)
    listing = Listing(root, place.version, limits, through)
    if listing.count() is None:
        _require_archive(source, place, limits)
    labels, inside = _labels(source, root, listing, table)
    count = listing.count()
    expected = None if count is None else count - (inside is not None)
    return Stream(_entries(source, listing.records(), labels, inside), expected)


def limits_of(params: DownloadParams) -> Limits:
    """Return how much an archive may unpack to."""
    return Limits(params.max_file_bytes, params.max_archive_bytes, params.max_archive_ratio)


def kind_of(path: Path, limits: Limits) -> str | None:
    """Return `zip` or `tar`, by the bytes; None for anything else. Raises BrokenArchive."""
    with path.open("rb") as handle:
        head = handle.read(tar.BLOCK)
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return "zip"
    if packing(head):
        with closing(Unpacked(path, limits)) as stream:
            head = stream.read(tar.BLOCK)
    if len(head) == tar.BLOCK and tar.is_header(head):
        return "tar"
    return "zip" if zipfile.is_zipfile(path) else None  # behind a program that unpacks it


def read_members(path: Path, limits: Limits, title: str) -> Iterator[Member]:
    """Yield the members of a zip or a tar; `title` names what is no member but is lost."""
    if kind_of(path, limits) == "zip":
        yield from zip.read_members(path, limits)
    else:
        yield from tar.read_members(path, limits, title)


def _pass(place: Place, limits: Limits) -> Iterator[Member]:
    title = PurePosixPath(place.shown).name
    yield from refuse_duplicates(read_members(_fetched(place), limits, title))


def _fetched(place: Place) -> Path:
    try:
        return place.fetch()
    except Unreadable as failure:
        raise unreachable(place.shown, failure) from failure


def _places(
    source: ArchiveSource, root: Path, params: DownloadParams
) -> tuple[Place, Place | None]:
    """Return where the archive and its label table lie. Raises UserError."""
    hashes = HashCache(hash_cache_path(root, source))
    place = find(source.path, root, params, hashes)
    table = label_table(source, root, params)
    hashes.save()
    return place, table


def _require_archive(source: ArchiveSource, place: Place, limits: Limits) -> None:
    path = _fetched(place)
    where = f"params.yaml: download.sources: path: {source.place}"
    try:
        kind = kind_of(path, limits)
    except BrokenArchive as fault:
        raise UserError(f"{where}: the file is {fault.reason} from its start") from fault
    if kind == "zip":
        zip.require_contents(path)
    elif kind is None:
        with path.open("rb") as handle:
            head = handle.read(8)
        other = next((name for magic, name in OTHERS.items() if head.startswith(magic)), None)
        got = f"a {other} archive: unpack it and" if other else "something else: correct it, or"
        raise UserError(
            f"{where}: expected a zip or a tar (plain, gzip, bzip2, xz, zstd), got {got}"
            " use kind: folder"
        )


def _labels(
    source: ArchiveSource, root: Path, listing: Listing, table: Place | None
) -> tuple[dict[str, Labels], str | None]:
    """Return the labels by name, and the name of the table where it is in the archive."""
    if source.labels is None:
        return {}, None
    names, inside = listing.names(), None
    if table is not None:
        content = read_table(table)
    else:
        inside = judged[0] if (judged := check_member_name(source.labels)) else None
        if inside not in names:
            raise missing_label_table(source, root, f" and {source.place} itself")
        try:
            content = listing.read(names.index(inside))
        except Unreadable as failure:
            raise UserError(
                f"params.yaml: download.sources: labels: {source.labels} in {source.place} cannot"
                f" be read: {failure.reason}"
            ) from failure
    names = [name for name in names if name != inside]
    return read_labels(Path(table.shown if table else source.labels), content, names), inside


def _entries(
    source: ArchiveSource, records: Iterator[Record], labels: dict[str, Labels], inside: str | None
) -> Iterator[Entry]:
    given: list[Labels] = []
    for record in records:
        if record.name == inside:
            continue
        known = labels.get(record.name, Labels())
        if ".." not in PurePosixPath(record.name).parts:  # refused: such folders name no class
            known = add_folder_labels(source, record.name, known)
        uri = f"{source.place}/{record.name}"
        given.append(known)
        yield Entry(record.name, uri, record.load, record.key, known)
    if not given:
        raise UserError(
            f"params.yaml: download.sources: path: {source.place}: no file in that archive; "
            "correct the path, or remove the source"
        )
    check_folder_depth(source, given)
