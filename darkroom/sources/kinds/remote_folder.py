"""A folder on a remote store, such as s3://bucket/photos: listed once, files fetched together.

A file's version is what the store says of it. The key of each version is kept once it is known, so
that nothing is fetched twice; what is fetched waits in `.darkroom/remote/` for its shard.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.files import publish, write_bytes
from darkroom.core.params.download import DownloadParams, FolderSource
from darkroom.sources import remote_files
from darkroom.sources.entries import Entry, EntryStream, Unreadable
from darkroom.sources.label_tables.match import labels_by_name
from darkroom.sources.source_files import SourceFile, hash_cache_path, unreachable

BATCH_FILES, BATCH_BYTES = 32, 64 * 2**20  # requested at a time


def list_files(source: FolderSource, tables: list[SourceFile]) -> list[remote_files.RemoteFile]:
    """Return the files by name, without the label tables. Raises UserError when there are none."""
    try:
        listed = remote_files.list_folder(source.path)
    except Unreadable as failure:
        raise unreachable(source.path, failure) from failure
    below = f"{source.shown_path.rstrip('/')}/"
    own = {table.shown.removeprefix(below) for table in tables}
    files = [file for file in listed if file.name not in own]
    if not files:
        raise UserError(
            f"params.yaml: download.sources: path: {source.shown_path}: no file there;"
            " correct the path"
        )
    return files


def list_entries(
    source: FolderSource, root: Path, params: DownloadParams, tables: list[SourceFile]
) -> EntryStream:
    """Return the folder's files as entries, by name."""
    files = list_files(source, tables)
    labels = labels_by_name(source, tables, [file.name for file in files])
    key_cache = hash_cache_path(root, source).with_suffix(".jsonl")
    known = _read_keys(key_cache)
    keys = [known.get((file.name, str(file.version))) for file in files]
    prefetcher = _Prefetcher(source.path, root, params.max_file_bytes)
    prefetcher.waiting.extend(f for f, key in zip(files, keys, strict=True) if key is None)

    def entries() -> Iterator[Entry]:
        with publish(key_cache) as handle:
            for file, key in zip(files, keys, strict=True):
                uri = f"{source.shown_path.rstrip('/')}/{file.name}"
                yield Entry(file.name, uri, partial(prefetcher.load, file), key, labels[file.name])
                line = {"name": file.name, "version": str(file.version),
                        "key": key or prefetcher.keys.pop(file.name, None)}  # fmt: skip
                if line["key"]:
                    handle.write(json.dumps(line).encode() + b"\n")

    return EntryStream(entries(), len(files))


class _Prefetcher:
    """Fetches some files ahead of the one that is loaded."""

    def __init__(self, url: str, root: Path, max_bytes: int) -> None:
        self._url, self._max_bytes = url, max_bytes
        self._folder = root / remote_files.SCRATCH
        self.waiting = deque[remote_files.RemoteFile]()  # in the order of `load`
        self._reasons: dict[str, str] = {}
        self.keys: dict[str, str] = {}

    def load(self, file: remote_files.RemoteFile) -> bytes:
        """Return the bytes of a file. Raises Unreadable."""
        if (file.version.size or 0) > self._max_bytes:
            raise Unreadable("too_large")
        body = self._body(file)
        if not body.exists() and file.name not in self._reasons:
            self._fetch(self._batch(file))
        if file.name in self._reasons:
            raise Unreadable(self._reasons[file.name])
        from darkroom.core.shards import key_of  # here: it brings pandas, which takes a while

        content = body.read_bytes()
        self.keys[file.name] = key_of(content)
        return content

    def _batch(self, first: remote_files.RemoteFile) -> list[remote_files.RemoteFile]:
        """Return a file and some of those after it that are not here yet."""
        while self.waiting and self.waiting[0].name < first.name:
            self.waiting.popleft()
        batch, size = [first], first.version.size or 0
        for file in islice(self.waiting, BATCH_FILES):
            more = file.version.size or 0
            if file.name == first.name or more > self._max_bytes or self._body(file).exists():
                continue
            if size + more > BATCH_BYTES:
                break
            batch, size = [*batch, file], size + more
        return batch

    def _fetch(self, batch: list[remote_files.RemoteFile]) -> None:
        try:
            contents = remote_files.read_many(self._url, batch)
        except Unreadable as failure:
            contents = [failure] * len(batch)
        for file, content in zip(batch, contents, strict=True):
            if isinstance(content, Unreadable):
                self._reasons[file.name] = content.reason
            else:
                write_bytes(self._body(file), content)

    def _body(self, file: remote_files.RemoteFile) -> Path:
        text = f"{self._url}\0{file.name}\0{file.version}"
        return self._folder / f"file-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _read_keys(path: Path) -> dict[tuple[str, str], str]:
    """Return the key by name and version; a file that is not as written counts as empty."""
    try:
        with path.open(encoding="utf-8") as handle:
            lines = [json.loads(line) for line in handle]
        return {(line["name"], line["version"]): line["key"] for line in lines}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
