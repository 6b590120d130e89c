"""The raw store: bytes once per key in shards that never change, and the index of all records.

A new key goes to a new shard; a known one keeps its place. A record that its source no longer has
becomes `withdrawn`, and one whose content changed leaves a withdrawn row (`replaced`) beside the
new one, so that the index knows every member of every shard. The index is held in memory, about
1 KB per record; image bytes are held for one shard at most.

Purged keys are the exception. Their bytes are not taken in; the rest of a shard that holds one is
written to a new shard, and the old shard goes after the index that no longer names it. Their
records stay, `withdrawn` because `purged`, without what the source said about the image.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from stages.lib import shards
from stages.lib.pixels import sniff_extension
from stages.lib.shards import Place, key_of, read_member
from stages.lib.tables import INDEX, LABEL_COLUMNS, read_table, write_table
from stages.sources.records import Entry, Unreadable

Row = dict[str, Any]
INDEX_FILE = "index.parquet"


class Store:
    """Takes entries in, shard by shard; `finish` publishes the index, last of all."""

    def __init__(self, folder: Path, purged: Collection[str] = ()) -> None:
        """Open the store at `folder`, empty or as the last finished run left it."""
        self.folder, self.purged = folder, purged
        self.before = _read_index(folder / INDEX_FILE)
        self.rows: list[Row] = []
        self._places = self._known_places()
        self._next = 1 + max((int(place.shard[:5]) for place in self._places.values()), default=-1)
        self._batch: dict[str, bytes] = {}
        self._bytes = 0

    def stored_keys(self, source: str) -> dict[str, str]:
        """Return the key by name of what the source need not give again: stored, or purged."""
        known = [
            row
            for row in self.before
            if row["source"] == source and self._has(row["key"]) and row["reason"] != REPLACED
        ]
        known.sort(key=lambda row: bool(row["status"] == "kept"))  # it outweighs a purged one
        return {row["name"]: row["key"] for row in known}

    def add(self, source: str, entry: Entry) -> None:
        """Take in one entry; its bytes are read only if its key is unknown or not stored."""
        key, reason = entry.key, None
        if key is None or not self._has(key):
            try:
                content = entry.load()
            except Unreadable as failure:
                key, reason = None, failure.reason
            else:
                key = key_of(content)  # a file may have changed since it was listed
                self._put(key, content)
        status = "failed" if key is None else "kept"
        self.rows.append(
            {
                "source": source, "name": entry.name, "uri": entry.uri, "key": key,
                "status": status, "reason": reason, **entry.labels.columns(),
            }
        )  # fmt: skip

    def keep_source(self, source: str) -> bool:
        """Keep the records of a source that is absent; return whether there are any."""
        rows = [row for row in self.before if row["source"] == source]
        self.rows += [{name: row[name] for name in row if name not in _PLACE} for row in rows]
        return bool(rows)

    def finish(self) -> pd.DataFrame:
        """Write the last shard and the index, then drop what it does not name; return it."""
        self._flush()
        self._leave_out_purged()
        index = self._index()
        write_table(index, self.folder / INDEX_FILE, INDEX, ("source", "name", "status", "key"))
        named = {INDEX_FILE, *index["shard"].dropna()}
        for path in [*self.folder.glob("[0-9]*.tar"), *self.folder.glob(".unfinished-*")]:
            if path.name not in named:
                path.unlink()  # of a killed run, or with purged bytes in it
        return index

    def _known_places(self) -> dict[str, Place]:
        present = {path.name for path in self.folder.glob("*.tar")}
        return {
            row["key"]: Place(row["shard"], int(row["offset"]), int(row["size"]))
            for row in self.before
            if row["key"] is not None and row["shard"] in present
        }

    def _has(self, key: str | None) -> bool:
        """Return whether the bytes of `key` are not wanted: they are here, or purged."""
        return key in self._places or key in self._batch or key in self.purged

    def _put(self, key: str, content: bytes) -> None:
        if self._has(key):
            return
        full = len(self._batch) >= shards.MAX_IMAGES
        if full or (self._batch and self._bytes + len(content) > shards.MAX_BYTES):
            self._flush()
        self._batch[key] = content
        self._bytes += len(content)

    def _flush(self) -> None:
        if not self._batch:
            return
        self._write(list(self._batch), self._batch.values())
        self._batch, self._bytes = {}, 0

    def _write(self, keys: list[str], contents: Iterable[bytes]) -> None:
        path = self.folder / shards.shard_name(self._next)
        pairs = zip(keys, contents, strict=True)
        places = shards.write_shard(path, ((f"{k}.{sniff_extension(c)}", c) for k, c in pairs))
        self._places.update(zip(keys, places, strict=True))
        self._next += 1

    def _leave_out_purged(self) -> None:
        """Write what else lies in the shards of purged keys to new shards."""
        purged = [key for key in self._places if key in self.purged]
        for shard in sorted({self._places.pop(key).shard for key in purged}):
            staying = [(place, key) for key, place in self._places.items() if place.shard == shard]
            staying.sort()
            if staying:
                contents = (read_member(self.folder, place) for place, _ in staying)
                self._write([key for _, key in staying], contents)

    def _index(self) -> pd.DataFrame:
        rows = [*self.rows, *withdrawn(self.before, self.rows)]
        for row in rows:
            place = self._places.get(row["key"]) if row["key"] else None
            row.update(place._asdict() if place else dict.fromkeys(_PLACE))
            if row["key"] in self.purged:
                row.update(dict.fromkeys(("uri", *LABEL_COLUMNS)))
                row.update(status="withdrawn", reason=PURGED_REASON)
        frame = pd.DataFrame(rows, columns=INDEX.names)
        return frame.astype({"offset": "Int64", "size": "Int64", "mean": "float", "std": "float"})


REPLACED, PURGED_REASON = "replaced", "purged"
_PLACE = ("shard", "offset", "size")


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
        kept = {name: row[name] for name in row if name not in _PLACE}
        gone.append({**kept, "status": "withdrawn", "reason": reason})
    return gone


def _read_index(path: Path) -> list[Row]:
    """Return the rows of the last index with None for every absence."""
    if not path.exists():
        return []
    frame = read_table(path, INDEX).astype(object)
    records = frame.where(frame.notna(), None).to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in records]


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
