"""Whether a source is there, and whether it has changed: for each kind its own answer."""

from pathlib import Path
from typing import Any

from darkroom.core.params.download import (
    ArchiveSource,
    DownloadParams,
    FolderSource,
    ListSource,
    Source,
    WebDatasetSource,
)
from darkroom.sources.kinds import archive, folder, url_list, webdataset_shards
from darkroom.sources.sample import photographs


def is_present(source: Source, root: Path, params: DownloadParams) -> bool:
    """Return whether the source can be read on this machine."""
    if isinstance(source, FolderSource):
        return folder.is_present(source, root, params)
    if isinstance(source, ArchiveSource):
        return archive.is_present(source, root, params)
    if isinstance(source, WebDatasetSource):
        return webdataset_shards.is_present(source, root, params)
    return not isinstance(source, ListSource) or url_list.is_present(source, root, params)


def describe(source: Source, root: Path, params: DownloadParams) -> dict[str, Any]:
    """Return what scan notes of a source: its kind, and a digest of what it holds."""
    if isinstance(source, FolderSource):
        return folder.describe(source, root, params)
    if isinstance(source, ArchiveSource):
        return archive.describe(source, root, params)
    if isinstance(source, WebDatasetSource):
        return webdataset_shards.describe(source, root, params)
    if isinstance(source, ListSource):
        return url_list.describe(source, root, params)
    return {"kind": "sample", "digest": photographs.digest()}
