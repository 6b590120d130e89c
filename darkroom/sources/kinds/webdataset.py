"""Existing WebDataset shards: each image in them is a record, with the labels beside it.

The shards are given by a path, a folder, a glob or a brace range. Labels are read as in
`archives/webdataset_samples`; those of shards of `data/raw` lie in the `index.parquet` beside them.
Refused is what an archive's members are refused for.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product, takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.explain import explain
from darkroom.core.params.download import DownloadParams, WebDatasetSource
from darkroom.core.paths import is_url, resolve_path
from darkroom.sources import remote_files, source_files
from darkroom.sources.archives.decompress import limits_of
from darkroom.sources.archives.listing import Listing
from darkroom.sources.archives.members import Member
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.entries import Entry, EntryStream, Labels, Unreadable, Version
from darkroom.sources.label_tables.match import read_tables
from darkroom.sources.source_files import SourceFile

logger = logging.getLogger(__name__)

MAX_SHARDS = 1_000_000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{},]*(?:,[^{},]*)+)\}")
_MAGIC = re.compile(r"[*?\[{]")


class Shard(NamedTuple):
    """One shard: its name below the fixed part of the source's path, and its file."""

    name: str
    file: SourceFile


@dataclass(frozen=True)
class WebDataset:
    """Shards on this machine, or elsewhere."""

    source: WebDatasetSource
    root: Path
    params: DownloadParams

    def is_present(self) -> bool:
        """Return whether any shard can be reached from this machine."""
        if not is_url(self.source.path):
            return any(path.is_file() for path in _local(self.source, self.root))
        try:
            versions = _remote(self.source, self.params)
        except Unreadable:
            return False
        return any(isinstance(version, Version) for version in versions.values())

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of the shards. Raises UserError."""
        shards, index, tables = self._find_shards()
        lines = [f"{shard.name}\0{shard.file.version}\n" for shard in shards]
        beside = [index, *tables] if tables else [index, None]
        lines += [f"\0{file.version if file else None}\n" for file in beside]
        digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
        return {"kind": "webdataset", "shards": len(shards), "digest": digest}

    def list_entries(self) -> EntryStream:
        """Return the images of all shards as entries, shard by shard. Raises UserError."""
        shards, index, tables = self._find_shards()
        listings = [(shard, self._listing(shard)) for shard in shards]
        counts = [listing.count() for _, listing in listings]
        labels = None
        if tables:
            names = [_name(shard, name) for shard, each in listings for name in each.names()]
            given = [(Path(table.shown), table.read()) for table in tables]
            labels = read_tables(self.source, given, names)
        known = None if index is None or labels is not None else _read_index(index)
        expected = None if None in counts or known else sum(count or 0 for count in counts)
        return EntryStream(_entries(self.source, listings, labels, known), expected)

    def _find_shards(self) -> tuple[list[Shard], SourceFile | None, list[SourceFile]]:
        """Return the shards, the index of `data/raw` beside them, and the label tables."""
        source, root, params = self.source, self.root, self.params
        if is_url(source.path):
            shards, index = _remote_shards(source, root, params), None
        else:
            hashes = HashCache(source_files.hash_cache_path(root, source))
            shards, index = _local_shards(source, root, hashes)
            hashes.save()
        tables = source_files.find_label_tables(source, root, params).values()
        return shards, index, [table for table in tables if table is not None]

    def _listing(self, shard: Shard) -> Listing:
        limits = limits_of(self.params)

        def read_all() -> Iterator[Member]:
            # here: it brings all that decodes images
            from darkroom.sources.archives.webdataset_samples import read_samples

            yield from read_samples(shard.file.path(), shard.name, limits)

        return Listing(self.root, f"samples\0{shard.file.version}", limits, read_all)


def expand_braces(pattern: str) -> list[str]:
    """Return what a pattern with {00..12} or {a,b} stands for, in order. Raises UserError."""
    fixed, choices, end, count = [], [], 0, 1
    for match in _RANGE.finditer(pattern):
        fixed.append(pattern[end : match.start()])
        low, high, words = match.groups()
        count *= len(words.split(",")) if words else int(high) - int(low) + 1
        if not 0 < count <= MAX_SHARDS:
            raise UserError(
                f"params.yaml: download.sources: path: {pattern}: expected 1 to {MAX_SHARDS:,}"
                f" shards, got {count:,}; correct the range"
            )
        numbers = [] if words else range(int(low), int(high) + 1)
        choices.append(words.split(",") if words else [str(n).zfill(len(low)) for n in numbers])
        end = match.end()
    return [
        "".join(part for pair in zip(fixed, chosen, strict=True) for part in pair) + pattern[end:]
        for chosen in product(*choices)
    ]


def _local(source: WebDatasetSource, root: Path) -> list[Path]:
    """Return the paths that are meant; those of a range need not exist."""
    path = resolve_path(root, source.path)
    if path.is_dir():
        return sorted(path.glob("*.tar"))
    if path.exists():
        return [path]  # even where its name looks like a pattern
    paths: list[Path] = []
    for pattern in map(Path, expand_braces(str(path))):
        if _MAGIC.search(str(pattern)):
            below = pattern.relative_to(pattern.anchor)
            paths += sorted(Path(pattern.anchor).glob(str(below)))
        else:
            paths.append(pattern)
    return list(dict.fromkeys(paths))


def _local_shards(
    source: WebDatasetSource, root: Path, hashes: HashCache
) -> tuple[list[Shard], SourceFile | None]:
    where = f"params.yaml: download.sources: path: {source.path}"
    paths = _local(source, root)
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        lost = f"{missing[0]}{more} not there" if missing else "no shard is there"
        raise UserError(f"{where}: {lost}; correct the path or the range")
    fixed = _fixed(resolve_path(root, source.path))
    shards = []
    for path in paths:
        name = path.relative_to(fixed).as_posix()
        try:
            shards.append(Shard(name, source_files.local_file(name, path, hashes)))
        except OSError as error:
            raise UserError(f"{where}: cannot read {explain(error)}") from error
    beside = paths[0].parent / "index.parquet"
    return shards, source_files.local_file(str(beside), beside, hashes) if _is_index(
        beside
    ) else None


def _is_index(path: Path) -> bool:
    """Return whether there is a table with the columns of data/raw/index.parquet."""
    if not path.is_file():
        return False
    import pyarrow as pa  # here, since it takes a while
    import pyarrow.parquet as pq

    from darkroom.core.tables import LABEL_COLUMNS

    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return False
    return set(names) >= {"key", "status", *LABEL_COLUMNS}


def _fixed(path: Path) -> Path:
    """Return the folder up to which a path has no pattern."""
    if path.is_dir():
        return path
    below = path.parts[:-1]
    if not path.exists():
        below = tuple(takewhile(lambda part: not _MAGIC.search(part), below))
    return Path(*below)


def _remote(source: WebDatasetSource, params: DownloadParams) -> dict[str, Any]:
    """Return the URLs that are meant, and the version of each, or why there is none."""
    versions: dict[str, Any] = {}
    plain = []
    for url in expand_braces(source.path):
        if _MAGIC.search(url) and remote_files.protocol(url) not in remote_files.WEB:
            versions |= remote_files.glob(url)
        else:
            plain.append(url)
    return versions | remote_files.versions(plain, params)


def _remote_shards(source: WebDatasetSource, root: Path, params: DownloadParams) -> list[Shard]:
    try:
        versions = _remote(source, params)
    except Unreadable as failure:
        raise source_files.unreachable(source.path, failure) from failure
    if not versions:
        raise UserError(
            f"params.yaml: download.sources: path: {source.shown_path}: no shard is there"
        )
    shards = []
    for url, version in versions.items():
        if isinstance(version, Unreadable):
            raise source_files.unreachable(url, version)
        file = source_files.remote_file(url, version, root, params)
        name = PurePosixPath(file.shown.removeprefix(f"{_path_before_pattern(source)}/"))
        shards.append(Shard(name.name if ":" in str(name) else str(name), file))
    return shards


def _path_before_pattern(source: WebDatasetSource) -> str:
    """Return the part of the source's path that is in front of its shards' names."""
    return _MAGIC.split(source.shown_path, maxsplit=1)[0].rpartition("/")[0]


def _entries(
    source: WebDatasetSource, listings: list[tuple[Shard, Listing]],
    labels: dict[str, Labels] | None, index: dict[str, list[Labels]] | None,
) -> Iterator[Entry]:  # fmt: skip
    withdrawn = 0
    below = f"{folder}/" if (folder := _path_before_pattern(source)) else ""
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
