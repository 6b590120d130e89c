"""Whether a source is there, and whether it has changed: for each kind its own answer."""

import hashlib
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
from stages.sources import archive, folder, photographs, webdataset, weblist


def is_present(source: Source, root: Path, params: DownloadParams) -> bool:
    """Return whether the source can be read on this machine."""
    if isinstance(source, FolderSource):
        return folder.is_present(source, root, params)
    if isinstance(source, ArchiveSource):
        return archive.is_present(source, root, params)
    if isinstance(source, WebDatasetSource):
        return webdataset.is_present(source, root, params)
    return not isinstance(source, ListSource) or weblist.is_present(source, root)


def describe(source: Source, root: Path, params: DownloadParams) -> dict[str, Any]:
    """Return what scan notes of a source: its kind, and a digest of what it holds."""
    if isinstance(source, FolderSource):
        return folder.describe(source, root, params)
    if isinstance(source, ArchiveSource):
        return archive.describe(source, root, params)
    if isinstance(source, WebDatasetSource):
        return webdataset.describe(source, root, params)
    if isinstance(source, ListSource):
        content = weblist.read_content(source, root)
        return {"kind": "list", "digest": hashlib.sha256(content).hexdigest()}
    return {"kind": "sample", "digest": photographs.digest()}
