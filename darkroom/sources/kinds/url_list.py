"""A list of image URLs; each line of it is a record."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core.params.download import DownloadParams, ListSource
from darkroom.sources.content_hashes import HashCache
from darkroom.sources.kinds.url_requests import read_requests
from darkroom.sources.source_files import SourceFile, find_file, hash_cache_path, is_reachable

if TYPE_CHECKING:
    from darkroom.sources.kinds.url_entries import UrlEntries


@dataclass(frozen=True)
class UrlList:
    """A list on this machine, or elsewhere."""

    source: ListSource
    root: Path
    params: DownloadParams

    def is_present(self) -> bool:
        """Return whether the list can be reached from this machine."""
        return is_reachable(self.source.path, self.root, self.params)

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of the list. Raises UserError."""
        return {"kind": "list", "digest": self._file().version}

    def list_entries(self) -> "UrlEntries":
        """Return the lines of the list as entries, in its order. Raises UserError."""
        from darkroom.sources.kinds.url_entries import UrlEntries  # here: it brings aiohttp

        requests = read_requests(self.source, self.root, self._file())
        return UrlEntries(requests, self.source.title, self.params)

    def _file(self) -> SourceFile:
        hashes = HashCache(hash_cache_path(self.root, self.source))
        return find_file(self.source.path, self.root, self.params, hashes)
