"""The kinds of sources: what each of them can do, and which one a setting of params.yaml means."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from darkroom.core.params import download
from darkroom.sources.entries import Entry
from darkroom.sources.kinds.archive import Archive
from darkroom.sources.kinds.folder import Folder
from darkroom.sources.kinds.sample import Sample
from darkroom.sources.kinds.url_list import UrlList
from darkroom.sources.kinds.webdataset import WebDataset

if TYPE_CHECKING:
    from darkroom.sources.store.journal import Journal
    from darkroom.sources.store.raw_store import RawStore


class Entries(Protocol):
    """The entries of one source: listed, with their labels, and not loaded yet."""

    @property
    def expected(self) -> int | None:
        """How many, where it is known beforehand."""

    def read(
        self, store: "RawStore", journal: "Journal", advance: Callable[[int], None]
    ) -> Iterator[Entry]:
        """Yield the entries in order; `store` takes in each before the next is asked for.

        `advance` is called with the number of entries that are done.
        """


class SourceKind(Protocol):
    """One source, of whatever kind."""

    def is_present(self) -> bool:
        """Return whether it can be read on this machine."""

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of it: its kind, and a digest of what it holds."""

    def list_entries(self) -> Entries:
        """Return its entries; label tables are read, and wrong ones raise UserError."""


_KINDS: dict[type[download.Source], Callable[[Any, Path, download.DownloadParams], SourceKind]] = {
    download.SampleSource: Sample,
    download.FolderSource: Folder,
    download.ListSource: UrlList,
    download.ArchiveSource: Archive,
    download.WebDatasetSource: WebDataset,
}


def open_source(source: download.Source, root: Path, params: download.DownloadParams) -> SourceKind:
    """Return the source that a setting means."""
    return _KINDS[type(source)](source, root, params)
