"""Existing WebDataset shards: each image in them is a record, with the labels beside it.

What a sample says is read as `samples` has it: `.json` as `darkroom export` writes it, `.cls`; the
captions of img2dataset (`.txt`) are passed over. Shards of `data/raw` have their labels in the
`index.parquet` beside them. Refused is what `archive` refuses.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from darkroom.core.errors import UserError
from darkroom.core.params.download import DownloadParams, WebDatasetSource
from darkroom.core.tables import LABEL_COLUMNS
from darkroom.sources.archives.listing import Listing
from darkroom.sources.archives.members import Limits, Member
from darkroom.sources.archives.webdataset_samples import read_samples
from darkroom.sources.entries import Entry, Labels, Stream, Unreadable
from darkroom.sources.kinds.archive import limits_of
from darkroom.sources.kinds.webdataset_shards import Shard, base, places
from darkroom.sources.label_tables.match import read_labels
from darkroom.sources.source_files import Place, read_table, unreachable

logger = logging.getLogger(__name__)


def read_entries(source: WebDatasetSource, root: Path, params: DownloadParams) -> Stream:
    """Return the images of all shards as entries, shard by shard. Raises UserError."""
    shards, index, table = places(source, root, params)
    limits = limits_of(params)
    listings = [
        Listing(root, f"samples\0{shard.place.version}", limits, partial(_pass, shard, limits))
        for shard in shards
    ]
    counts = [listing.count() for listing in listings]
    labels = None
    if table is not None:
        names = [
            _name(shard, name)
            for shard, listing in zip(shards, listings, strict=True)
            for name in listing.names()
        ]
        labels = read_labels(Path(table.shown), read_table(table), names)
    known = None if index is None or labels is not None else _read_index(index)
    expected = None if None in counts or known else sum(count or 0 for count in counts)
    entries = _entries(source, list(zip(shards, listings, strict=True)), labels, known)
    return Stream(entries, expected)


def _entries(
    source: WebDatasetSource, listings: list[tuple[Shard, Listing]],
    labels: dict[str, Labels] | None, index: dict[str, list[Labels]] | None,
) -> Iterator[Entry]:  # fmt: skip
    withdrawn = 0
    below = f"{folder}/" if (folder := base(source)) else ""
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


def _pass(shard: Shard, limits: Limits) -> Iterator[Member]:
    try:
        path = shard.place.fetch()
    except Unreadable as failure:
        raise unreachable(shard.place.shown, failure) from failure
    yield from read_samples(path, shard.name, limits)


def _read_index(place: Place) -> dict[str, list[Labels]]:
    """Return the labels by key of the kept records in an index of data/raw, equal ones once."""
    try:
        table = pq.read_table(place.fetch(), columns=["key", "status", *LABEL_COLUMNS])
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{place.shown}: not an index of Darkroom: {error}") from error
    found: dict[str, list[Labels]] = {}
    for row in table.to_pylist():
        if row.pop("status") != "kept":
            continue
        labels = found.setdefault(row.pop("key"), [])
        ratings = row.pop("ratings")
        one = Labels(**row, ratings=tuple(ratings) if ratings else None)
        if one not in labels:
            labels.append(one)
    return found
