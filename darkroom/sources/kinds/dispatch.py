"""Whether a source is there, and whether it has changed: for each kind its own answer."""

from pathlib import Path
from typing import Any

from stages.lib.params import (
    ArchiveSource,
    DownloadParams,
    FolderSource,
    ListSource,
    Source,
    WebDatasetSource,
)
from stages.sources import archive, folder, photographs, shards_found, weblist


def is_present(source: Source, root: Path, params: DownloadParams) -> bool:
    """Return whether the source can be read on this machine."""
    if isinstance(source, FolderSource):
        return folder.is_present(source, root, params)
    if isinstance(source, ArchiveSource):
        return archive.is_present(source, root, params)
    if isinstance(source, WebDatasetSource):
        return shards_found.is_present(source, root, params)
    return not isinstance(source, ListSource) or weblist.is_present(source, root, params)


def describe(source: Source, root: Path, params: DownloadParams) -> dict[str, Any]:
    """Return what scan notes of a source: its kind, and a digest of what it holds."""
    if isinstance(source, FolderSource):
        return folder.describe(source, root, params)
    if isinstance(source, ArchiveSource):
        return archive.describe(source, root, params)
    if isinstance(source, WebDatasetSource):
        return shards_found.describe(source, root, params)
    if isinstance(source, ListSource):
        return weblist.describe(source, root, params)
    return {"kind": "sample", "digest": photographs.digest()}
