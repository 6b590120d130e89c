"""Bring every image in: from the sources to shards of original bytes and an index of records.

Enters: the sources of `download.sources`, in order; `data/sources.json` only says when to look;
`data/purged.csv`, whose keys are never stored and leave the shards (see `darkroom purge`).
Leaves: `data/raw/00000.tar …`, `data/raw/index.parquet` (published last), `metrics/download.json`.
Rules: bytes are stored once per key; finished shards never change; unchanged records keep their
place; a URL that was fetched is not fetched again, a failed one keeps its reason until the setting
behind it changes, or until `make retry`; a failure is a row. Nothing is checked here, not even
whether it is an image: `clean` does. What is not published yet waits in `.darkroom/download/`, so
that a killed run loses none and a rerun ends with the same bytes. Run alone:
`python -m stages.download`.
"""

import logging
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.core.failure_limit import stop_if_too_many
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.params.download import DownloadParams
from darkroom.core.params.section import StageParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.labels.lost_classes import say_lost_classes
from darkroom.sources import remote_files
from darkroom.sources.failure_reasons import REASONS
from darkroom.sources.kinds.dispatch import Entries, open_source
from darkroom.sources.store.journal import SCRATCH, SHARDS, Journal
from darkroom.sources.store.purged import PURGED, read_purged
from darkroom.sources.store.raw_store import TOTAL_LIMIT, RawStore

TARGET = Path("data/raw")
METRICS = Path("metrics/download.json")

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
    sources = list_sources(root, settings, store)
    expected = [entries.expected for entries in sources.values()]
    progress = Progress(
        "download", sum(count or 0 for count in expected), open_ended=None in expected
    )
    for title, entries in sources.items():
        for entry in entries.read(store, journal, progress.advance):
            store.add(title, entry)
    failed = [
        (row["reason"], f"{row['source']}:{row['name']}")
        for row in store.rows
        if row["status"] == "failed"
    ]
    faults = [fault for fault in failed if fault[0] != TOTAL_LIMIT]
    try:
        stop_if_too_many(
            "download", "download.max_failed_fraction", faults, len(store.rows),
            settings.max_failed_fraction, REASONS,
        )  # fmt: skip
    except UserError:
        journal.forget_failures()  # whatever is corrected now, they are tried again
        raise
    index = store.finish()
    remedies = {TOTAL_LIMIT: "raise download.max_total_bytes"}
    say_lost_classes("download", index[index["status"] != "withdrawn"], remedies)
    write_metrics(root / METRICS, summarise(index))
    journal.clear()
    shutil.rmtree(root / remote_files.SCRATCH, ignore_errors=True)
    reasons = Counter(reason for reason, _ in failed)
    for reason, count in reasons.most_common(10):
        meaning = REASONS.get(reason, "what the server answered")
        logger.warning("download: %d %s: %s", count, reason, meaning)
    if failed:
        logger.warning("download: failed URLs are left alone from now on; `make retry` tries again")
    progress.close(int((index["status"] == "kept").sum()), {}, reasons)


def list_sources(root: Path, settings: DownloadParams, store: RawStore) -> dict[str, Entries]:
    """Return the entries of each source by its name; no byte of any is stored yet.

    A source that is absent on this machine keeps its records in the store.
    """
    present = {}
    for source in settings.sources:
        opened = open_source(source, root, settings)
        if opened.is_present() or not store.keep_source(source.title):
            present[source.title] = opened
        else:
            logger.warning(
                "download: source %s is not on this machine; its records stay as they are",
                source.title,
            )
    return {title: source.list_entries() for title, source in present.items()}


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


if __name__ == "__main__":
    run_as_script(run, Params)
