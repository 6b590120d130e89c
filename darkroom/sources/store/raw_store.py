"""The raw store: bytes once per key in shards that never change, and the index of all records.

A new key goes to a new shard; a known one keeps its place. A record that its source no longer has
becomes `withdrawn`, and one whose content changed leaves a withdrawn row (`replaced`) beside the
new one, so that the index knows every member of every shard. The index is held in memory, about
1 KB per record.

Purged keys are not taken in; the rest of a shard that holds one is written to a new shard, and the
old one goes after the index. Their records stay, `withdrawn` because `purged`, without labels.
"""

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from darkroom.core.shards import Location, key_of, require_locations
from darkroom.core.tables import INDEX, LABEL_COLUMNS, null_to_none, read_table, write_table
from darkroom.sources.entries import Entry, Unreadable
from darkroom.sources.store.journal import SCRATCH, Journal
from darkroom.sources.store.shard_writer import ShardWriter

logger = logging.getLogger(__name__)

Row = dict[str, Any]
RAW, INDEX_FILE = Path("data/raw"), "index.parquet"
_ORDER = ("source", "name", "status", "key")
TOTAL_LIMIT = "total_limit"  # the reason of what came after `max_total_bytes` was reached


class RawStore:
    """Takes entries in, shard by shard; `finish` publishes the index, last of all."""

    def __init__(
        self, folder: Path, purged: Collection[str] = (), staging: Path | None = None,
        max_total_bytes: int | None = None,
    ) -> None:  # fmt: skip
        """Open the store at `folder`, empty or as the last finished run left it.

        With a `staging` folder, a run that is killed leaves its shards there to the next.
        """
        self.folder, self.purged = folder, purged
        self.before = _read_index(folder / INDEX_FILE)
        self.rows: list[Row] = []
        known = {
            row["key"]: Location(row["shard"], int(row["offset"]), int(row["size"]))
            for row in self.before
            if row["key"] is not None and row["shard"] is not None
        }
        self.writer = ShardWriter(folder, staging, known)
        self._max_bytes = max_total_bytes
        self.full = False

    def stored_keys(self, source: str) -> dict[str, str]:
        """Return the key by name of what the source need not give again: stored, or purged."""
        rows = (row for row in self.before if row["source"] == source)
        known = [row for row in rows if self._has(row["key"]) and row["reason"] != REPLACED]
        known.sort(key=lambda row: bool(row["status"] == "kept"))  # it outweighs a purged one
        return {row["name"]: row["key"] for row in known}

    def failures(self, source: str) -> dict[str, str]:
        """Return the reason by name of what the source failed to give in the last finished run."""
        return {
            row["name"]: row["reason"]
            for row in self.before
            if row["source"] == source and row["status"] == "failed"
        }

    def add(self, source: str, entry: Entry) -> None:
        """Take in one entry; its bytes are read only if its key is unknown or not stored."""
        key, reason = entry.key, None
        if key is None or not self._has(key):
            try:
                key = self._take_in(entry)
            except Unreadable as failure:
                key, reason = None, failure.reason
        status = "failed" if key is None else "kept"
        self.rows.append(
            {
                "source": source, "name": entry.name, "uri": entry.uri, "key": key,
                "status": status, "reason": reason, **entry.labels.columns(),
            }
        )  # fmt: skip

    def _take_in(self, entry: Entry) -> str:
        """Give the bytes of an entry to the shard writer; return their key. Raises Unreadable."""
        if self.full:
            raise Unreadable(TOTAL_LIMIT)
        content = entry.load()
        key = key_of(content)  # a file may have changed since it was listed
        if not self._has(key):
            # Whatever comes after the first that is too much stays out as well, small or not: what
            # is in the set then depends on the order of the sources alone.
            total = self.writer.total_bytes + len(content)
            self.full = self._max_bytes is not None and total > self._max_bytes
            if self.full:
                raise Unreadable(TOTAL_LIMIT)
            self.writer.put(key, content)
        return key

    def keep_source(self, source: str) -> bool:
        """Keep the records of a source that is absent; return whether there are any."""
        rows = [row for row in self.before if row["source"] == source]
        self.rows += [{name: row[name] for name in row if name not in _LOCATION} for row in rows]
        return bool(rows)

    def finish(self) -> pd.DataFrame:
        """Publish the shards and the index, then drop what it does not name; return it."""
        self.writer.flush()
        rows = [*self.rows, *withdrawn(self.before, self.rows)]
        named = {row["key"] for row in rows}
        self.writer.leave_out(lambda key: key not in named, self.purged)
        self.writer.publish()
        index = self._index(rows)
        write_table(index, self.folder / INDEX_FILE, INDEX, _ORDER)
        in_use = {INDEX_FILE, *index["shard"].dropna()}
        for path in [*self.folder.glob("[0-9]*.tar"), *self.folder.glob(".unfinished-*")]:
            if path.name not in in_use:
                path.unlink()  # of a killed run, or with purged bytes in it
        return index

    def _has(self, key: str | None) -> bool:
        """Return whether the bytes of `key` are not wanted: they are here, or purged."""
        return key in self.writer or key in self.purged

    def _index(self, rows: list[Row]) -> pd.DataFrame:
        for row in rows:
            location = self.writer.locations.get(row["key"]) if row["key"] else None
            row.update(location._asdict() if location else dict.fromkeys(_LOCATION))
            if row["key"] in self.purged:
                row.update(dict.fromkeys(("uri", *LABEL_COLUMNS)))
                row.update(status="withdrawn", reason=PURGED_REASON)
        frame = pd.DataFrame(rows, columns=INDEX.names)
        return frame.astype({"offset": "Int64", "size": "Int64", "mean": "float", "std": "float"})


REPLACED, PURGED_REASON = "replaced", "purged"
_LOCATION = ("shard", "offset", "size")


def withdrawn(before: Iterable[Row], now: list[Row]) -> list[Row]:
    """Return the rows of `before` that are no longer so, as withdrawn rows."""
    keys = {(row["source"], row["name"], row["key"]) for row in now}
    names = {(source, name) for source, name, _ in keys}
    gone = []
    for row in before:
        at = (row["source"], row["name"])
        if (*at, row["key"]) in keys or (row["key"] is None and at in names):
            continue
        reason = REPLACED if at in names else "gone"
        kept = {name: row[name] for name in row if name not in _LOCATION}
        gone.append({**kept, "status": "withdrawn", "reason": reason})
    return gone


def _read_index(path: Path) -> list[Row]:
    """Return the rows of the last index with None for every absence."""
    if not path.exists():
        return []
    index = read_table(path, INDEX)
    require_locations(index)
    records = index.astype(object).to_dict("records")
    return [{str(name): null_to_none(cell) for name, cell in row.items()} for row in records]


def forget_failures(root: Path) -> None:
    """Take what failed out of the index, whatever the reason, and say how many there were.

    A plain `dvc repro` leaves old failures alone; the one after this sees a changed index and tries
    these again, and only these. Those of a download that was stopped half-way are forgotten too.
    """
    Journal(root / SCRATCH).forget_failures()
    path = root / RAW / INDEX_FILE
    if not path.exists():
        logger.info("retry: nothing was downloaded yet: `dvc repro` does that")
        return
    index = read_table(path, INDEX)
    failed = index["status"] == "failed"
    for reason, count in index.loc[failed, "reason"].value_counts().items():
        logger.info("retry: %6d  %s", count, reason)
    if failed.any():
        write_table(index[~failed], path, INDEX, _ORDER)
    logger.info("retry: %d of %d records failed, to be tried again", failed.sum(), len(index))
