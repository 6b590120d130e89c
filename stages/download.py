"""Bring every image in: from the sources to shards of original bytes and an index of records.

Enters: the sources of `download.sources`, in order; `data/sources.json` only tells when to look;
`data/purged.csv`, whose keys are never stored and leave the shards (see `darkroom purge`).
Leaves: `data/raw/00000.tar …`, `data/raw/index.parquet` (published last), `metrics/download.json`.
Rules: bytes are stored once per key; finished shards never change; unchanged records keep their
place; a URL that was fetched is not fetched again, a failed one keeps its reason until `make
retry`; a failure is a row. Nothing is judged here, not even whether it is an image: `clean` does.
What is not published yet waits in `.darkroom/download/`, so that a killed run loses none and a
rerun ends with the same bytes. Run alone: `python -m stages.download`.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.core.failure_limit import stop_if_too_many
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.params.download import (
    ArchiveSource,
    DownloadParams,
    FolderSource,
    ListSource,
    Source,
    WebDatasetSource,
)
from darkroom.core.params.section import StageParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.sources import remote_files
from darkroom.sources.entries import Entry, Labels, Stream
from darkroom.sources.failure_reasons import REASONS
from darkroom.sources.kinds import archive, folder, url_list, webdataset
from darkroom.sources.kinds.dispatch import is_present
from darkroom.sources.kinds.url_entries import list_entries
from darkroom.sources.sample import generate
from darkroom.sources.store.journal import SHARDS, Journal
from darkroom.sources.store.purged import PURGED, read_purged
from darkroom.sources.store.raw_store import TOTAL_LIMIT, RawStore

TARGET = Path("data/raw")
METRICS = Path("metrics/download.json")
SCRATCH = Path(".darkroom/download")

logger = logging.getLogger(__name__)


class Params(StageParams):
    """The sections of params.yaml that download reads."""

    download: DownloadParams


def run(root: Path, params: Params) -> None:
    """Write the shards, the index and the metrics."""
    settings = params.download
    journal = Journal(root / SCRATCH)
    store = RawStore(
        root / TARGET, read_purged(root / PURGED), journal.folder / SHARDS, settings.max_total_bytes
    )
    sources = [source for source in settings.sources if not _stays(source, root, settings, store)]
    # Every source is listed, and every label table read, before the first byte is stored.
    listings = [_list(source, root, settings) for source in sources]
    total = sum(len(listing) for listing in listings)
    unknown = any(isinstance(each, Stream) and each.expected is None for each in listings)
    progress = Progress("download", total, open_ended=unknown)
    for source, listing in zip(sources, listings, strict=True):
        for entry in _entries(source, listing, settings, store, journal, progress.advance):
            store.add(source.title, entry)
    failed = [row for row in store.rows if row["status"] == "failed"]
    faults = [
        (row["reason"], f"{row['source']}:{row['name']}")
        for row in failed
        if row["reason"] != TOTAL_LIMIT
    ]
    try:
        stop_if_too_many(
            "download", "download.max_failed_fraction", faults, len(store.rows),
            settings.max_failed_fraction, REASONS,
        )  # fmt: skip
    except UserError:
        journal.forget_failures()  # whatever is corrected now, they are tried again
        raise
    index = store.finish()
    write_metrics(root / METRICS, summarise(index))
    journal.clear()
    _say_what_stays_out(len(failed) - len(faults), settings)
    shutil.rmtree(root / remote_files.SCRATCH, ignore_errors=True)
    kept = int((index["status"] == "kept").sum())
    progress.close(kept, {}, failed=len(failed))


def summarise(index: pd.DataFrame) -> MetricTree:
    """Count the records of an index."""
    counts = index["status"].value_counts()
    kept, failed = int(counts.get("kept", 0)), index[index["status"] == "failed"]
    keys = int(index.loc[index["status"] == "kept", "key"].nunique())
    return {
        "records": len(index),
        "kept": kept,
        "failed": len(failed),
        "withdrawn": int(counts.get("withdrawn", 0)),
        "keys": keys,
        "exact_duplicates": kept - keys,
        "shards": int(index["shard"].nunique()),
        "failed_by_reason": {
            str(reason): int(count) for reason, count in failed["reason"].value_counts().items()
        },
    }


def _stays(source: Source, root: Path, settings: DownloadParams, store: RawStore) -> bool:
    """Keep the records of a source that is absent on this machine; return whether it did."""
    if is_present(source, root, settings) or not store.keep_source(source.title):
        return False
    logger.warning(
        "download: source %s is not on this machine; its records stay as they are", source.title
    )
    return True


Listing = list[Entry] | list[url_list.Request] | Stream


def _list(source: Source, root: Path, settings: DownloadParams) -> Listing:
    if isinstance(source, FolderSource):
        return folder.read_entries(source, root, settings)
    if isinstance(source, ArchiveSource):
        return archive.read_entries(source, root, settings)
    if isinstance(source, WebDatasetSource):
        return webdataset.read_entries(source, root, settings)
    if isinstance(source, ListSource):
        return url_list.read_requests(source, root, settings)
    return [_sample_entry(file) for file in generate.files()]


def _sample_entry(file: generate.SampleFile) -> Entry:
    labels = Labels(ratings=file.ratings, source_group=file.group)
    return Entry(file.name, f"sample:{file.name}", lambda: file.content, labels=labels)


def _entries(
    source: Source, listing: Listing, settings: DownloadParams, store: RawStore, journal: Journal,
    advance: Callable[[int], None],
) -> Iterator[Entry]:  # fmt: skip
    """Yield the entries in order, those of a list after fetching what is not there yet."""
    if isinstance(listing, Stream):
        for entry in listing:
            yield entry
            advance(1)
        return
    requests = [item for item in listing if isinstance(item, url_list.Request)]
    if requests:
        yield from list_entries(requests, source.title, store, journal, settings, advance)
    for item in listing:
        if isinstance(item, Entry):
            yield item
            advance(1)


def _say_what_stays_out(records: int, settings: DownloadParams) -> None:
    if records:
        logger.warning(
            "download: download.max_total_bytes = %s is reached: %d records did not come in "
            "(%s); raise it and `make retry` to take them in",
            settings.max_total_bytes, records, TOTAL_LIMIT,
        )  # fmt: skip


if __name__ == "__main__":
    run_as_script(run, Params)
