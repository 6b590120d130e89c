"""Existing WebDataset shards: each image in them is a record, with the labels beside it.

Labels are read as in `archives/webdataset_samples`: `.json` as `darkroom export` writes it, `.cls`;
the captions of img2dataset (`.txt`) are passed over. Shards of `data/raw` have their labels in the
`index.parquet` beside them. Refused is what an archive's members are refused for.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.params.download import DownloadParams, WebDatasetSource
from darkroom.sources.archives.decompress import limits_of
from darkroom.sources.archives.listing import Listing
from darkroom.sources.archives.members import Member
from darkroom.sources.entries import Entry, EntryStream, Labels
from darkroom.sources.kinds.webdataset_shards import (
    Shard,
    any_shard_present,
    find_shards,
    path_before_pattern,
)
from darkroom.sources.label_tables.match import read_labels
from darkroom.sources.source_files import SourceFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WebDataset:
    """Shards on this machine, or elsewhere."""

    source: WebDatasetSource
    root: Path
    params: DownloadParams

    def is_present(self) -> bool:
        """Return whether any shard can be reached from this machine."""
        return any_shard_present(self.source, self.root, self.params)

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of the shards. Raises UserError."""
        shards, index, table = find_shards(self.source, self.root, self.params)
        lines = [f"{shard.name}\0{shard.file.version}\n" for shard in shards]
        lines += [f"\0{file.version if file else None}\n" for file in (index, table)]
        digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
        return {"kind": "webdataset", "shards": len(shards), "digest": digest}

    def list_entries(self) -> EntryStream:
        """Return the images of all shards as entries, shard by shard. Raises UserError."""
        shards, index, table = find_shards(self.source, self.root, self.params)
        listings = [(shard, self._listing(shard)) for shard in shards]
        counts = [listing.count() for _, listing in listings]
        labels = None
        if table is not None:
            names = [_name(shard, name) for shard, each in listings for name in each.names()]
            labels = read_labels(Path(table.shown), table.read(), names)
        known = None if index is None or labels is not None else _read_index(index)
        expected = None if None in counts or known else sum(count or 0 for count in counts)
        return EntryStream(_entries(self.source, listings, labels, known), expected)

    def _listing(self, shard: Shard) -> Listing:
        limits = limits_of(self.params)

        def read_all() -> Iterator[Member]:
            # here: it brings all that decodes images
            from darkroom.sources.archives.webdataset_samples import read_samples

            yield from read_samples(shard.file.path(), shard.name, limits)

        return Listing(self.root, f"samples\0{shard.file.version}", limits, read_all)


def _entries(
    source: WebDatasetSource, listings: list[tuple[Shard, Listing]],
    labels: dict[str, Labels] | None, index: dict[str, list[Labels]] | None,
) -> Iterator[Entry]:  # fmt: skip
    withdrawn = 0
    below = f"{folder}/" if (folder := path_before_pattern(source)) else ""
    for shard, listing in listings:
        for record in listing.records():
            name = _name(shard, record.name)
            given = [record.labels if labels is None else labels.get(name, Labels())]
            if index is not None and record.name:
                given = index.get(PurePosixPath(record.name).stem, [])
                withdrawn += not given
            for number, one in enumerate(given, 1):
                again = f"~{number}" if number > 1 else ""  # records that disagree about it
                yield Entry(f"{name}{again}", f"{below}{name}", record.load, record.key, one)
    if withdrawn:
        logger.info("%s: %d images are withdrawn there and passed over", source.title, withdrawn)


def _name(shard: Shard, record: str) -> str:
    return f"{shard.name}/{record}" if record else shard.name


def _read_index(file: SourceFile) -> dict[str, list[Labels]]:
    """Return the labels by key of the kept records in an index of data/raw, equal ones once."""
    import pyarrow as pa  # here, since it takes a while
    import pyarrow.parquet as pq

    from darkroom.core.tables import LABEL_COLUMNS

    try:
        table = pq.read_table(file.path(), columns=["key", "status", *LABEL_COLUMNS])
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file.shown}: not an index of Darkroom: {error}") from error
    labels_by_key: dict[str, list[Labels]] = {}
    for row in table.to_pylist():
        if row.pop("status") != "kept":
            continue
        labels = labels_by_key.setdefault(row.pop("key"), [])
        ratings = row.pop("ratings")
        one = Labels(**row, ratings=tuple(ratings) if ratings else None)
        if one not in labels:
            labels.append(one)
    return labels_by_key
