"""Finding the shards of a WebDataset source: by a path, a folder, a glob or a brace range."""

import re
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.explain import explain
from darkroom.core.params.download import DownloadParams, WebDatasetSource
from darkroom.core.paths import is_url, resolve_path
from darkroom.sources import remote_files
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.entries import Unreadable, Version
from darkroom.sources.source_files import (
    SourceFile,
    find_label_table,
    hash_cache_path,
    local_file,
    missing_label_table,
    remote_file,
    unreachable,
)

MAX_SHARDS = 1_000_000
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{},]*(?:,[^{},]*)+)\}")
_MAGIC = re.compile(r"[*?\[{]")


class Shard(NamedTuple):
    """One shard: its name below the fixed part of the source's path, and its file."""

    name: str
    file: SourceFile


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


def any_shard_present(source: WebDatasetSource, root: Path, params: DownloadParams) -> bool:
    """Return whether any shard can be reached from this machine."""
    if not is_url(source.path):
        return any(path.is_file() for path in _local(source, root))
    try:
        versions = _remote(source, params)
    except Unreadable:
        return False
    return any(isinstance(version, Version) for version in versions.values())


def find_shards(
    source: WebDatasetSource, root: Path, params: DownloadParams
) -> tuple[list[Shard], SourceFile | None, SourceFile | None]:
    """Return the shards, the index of `data/raw` beside them, and the label table."""
    hashes = HashCache(hash_cache_path(root, source))
    if is_url(source.path):
        shards, index = _remote_shards(source, root, params), None
    else:
        shards, index = _local_shards(source, root, hashes)
    table = find_label_table(source, root, params)
    hashes.save()
    if source.labels and table is None:
        raise missing_label_table(source, root)
    return shards, index, table


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
            shards.append(Shard(name, local_file(name, path, hashes)))
        except OSError as error:
            raise UserError(f"{where}: cannot read {explain(error)}") from error
    beside = paths[0].parent / "index.parquet"
    return shards, local_file(str(beside), beside, hashes) if _is_index(beside) else None


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
    parts = path.parts if path.exists() else path.parts[: _first_magic(path)]
    return Path(*parts[:-1]) if len(parts) == len(path.parts) else Path(*parts)


def _first_magic(path: Path) -> int:
    magic = (number for number, part in enumerate(path.parts) if _MAGIC.search(part))
    return next(magic, len(path.parts))


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
        raise unreachable(source.path, failure) from failure
    if not versions:
        raise UserError(
            f"params.yaml: download.sources: path: {source.shown_path}: no shard is there"
        )
    shards = []
    for url, version in versions.items():
        if isinstance(version, Unreadable):
            raise unreachable(url, version)
        file = remote_file(url, version, root, params)
        name = PurePosixPath(file.shown.removeprefix(f"{path_before_pattern(source)}/"))
        shards.append(Shard(name.name if ":" in str(name) else str(name), file))
    return shards


def path_before_pattern(source: WebDatasetSource) -> str:
    """Return the part of the source's path that is in front of its shards' names."""
    return _MAGIC.split(source.shown_path, maxsplit=1)[0].rpartition("/")[0]
