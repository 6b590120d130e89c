"""A zip, or a tar that may be packed: each regular file in it is a record.

Members stream into the store and are never written to disk by their names. What is refused, and
why, is a row (see `failure_reasons`); what comes before the place at which a tar breaks off
arrives, and that place is a row as well. A zip that is cut off has lost its table of contents and
stops the stage. An archive is read once, unless an earlier pass has noted what it holds; a packed
tar with a label table twice, the first time for its names, so that a wrong table stops at once.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.params.download import ArchiveSource, DownloadParams
from darkroom.sources import source_files
from darkroom.sources.archives import formats
from darkroom.sources.archives.decompress import limits_of
from darkroom.sources.archives.listing import Listing, Record
from darkroom.sources.archives.members import Member, check_member_name, refuse_duplicates
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.entries import Entry, EntryStream, Labels, Unreadable
from darkroom.sources.label_tables import match
from darkroom.sources.source_files import SourceFile


@dataclass(frozen=True)
class Archive:
    """An archive on this machine, or elsewhere."""

    source: ArchiveSource
    root: Path
    params: DownloadParams

    def is_present(self) -> bool:
        """Return whether the archive can be reached from this machine."""
        return source_files.is_reachable(self.source.path, self.root, self.params)

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of the archive. Raises UserError."""
        archive, tables = self._files()
        versions = [table.version if table else None for table in tables.values()] or [None]
        text = "\0".join(map(str, [archive.version, *versions]))
        return {"kind": "archive", "digest": hashlib.sha256(text.encode()).hexdigest()}

    def list_entries(self) -> EntryStream:
        """Return the archive's files as entries, in its order. Raises UserError."""
        archive, tables = self._files()
        limits = limits_of(self.params)

        def read_all() -> Iterator[Member]:
            title = PurePosixPath(archive.shown).name
            yield from refuse_duplicates(formats.read_members(archive.path(), limits, title))

        listing = Listing(self.root, archive.version, limits, read_all)
        if listing.count() is None:
            where = f"params.yaml: download.sources: path: {self.source.shown_path}"
            formats.require_archive(archive.path(), limits, where)
        labels, inside = self._labels(listing, tables)
        count = listing.count()
        expected = None if count is None else count - len(inside)
        return EntryStream(_entries(self.source, listing.records(), labels, inside), expected)

    def _files(self) -> tuple[SourceFile, dict[str, SourceFile | None]]:
        """Return the archive, and each label table that is not in it. Raises UserError."""
        hashes = HashCache(source_files.hash_cache_path(self.root, self.source))
        archive = source_files.find_file(self.source.path, self.root, self.params, hashes)
        tables = source_files.find_label_tables(self.source, self.root, self.params)
        hashes.save()
        return archive, tables

    def _labels(
        self, listing: Listing, tables: dict[str, SourceFile | None]
    ) -> tuple[dict[str, Labels], set[str]]:
        """Return the labels by name, and the names of the tables that are in the archive."""
        if not tables:
            return {}, set()
        names = listing.names()
        inside: set[str] = set()
        given: list[tuple[Path, bytes]] = []
        for wanted, table in tables.items():
            if table is not None:
                given.append((Path(table.shown), table.read()))
                continue
            name = self._name_inside(wanted, names)
            inside.add(name)
            try:
                given.append((Path(wanted), listing.read(names.index(name))))
            except Unreadable as failure:
                raise UserError(
                    f"params.yaml: download.sources: labels: {wanted} in {self.source.shown_path}"
                    f" cannot be read: {failure.reason}"
                ) from failure
        names = [name for name in names if name not in inside]
        return match.read_tables(self.source, given, names), inside

    def _name_inside(self, wanted: str, names: list[str]) -> str:
        """Return the name of a table in the archive. Raises UserError where it is not there."""
        checked = check_member_name(wanted)
        if checked is None or checked[0] not in names:
            also = f" and {self.source.shown_path} itself"
            raise source_files.missing_label_table(self.source, wanted, self.root, also)
        return checked[0]


def _entries(
    source: ArchiveSource, records: Iterator[Record], labels: dict[str, Labels], inside: set[str]
) -> Iterator[Entry]:
    given: list[Labels] = []
    for record in records:
        if record.name in inside:
            continue
        known = labels.get(record.name, Labels())
        if ".." not in PurePosixPath(record.name).parts:  # refused: such folders name no class
            known = match.add_folder_labels(source, record.name, known)
        uri = f"{source.shown_path}/{record.name}"
        given.append(known)
        yield Entry(record.name, uri, record.load, record.key, known)
    if not given:
        raise UserError(
            f"params.yaml: download.sources: path: {source.shown_path}: no file in that archive; "
            "correct the path, or remove the source"
        )
    match.check_folder_depth(source, given)
