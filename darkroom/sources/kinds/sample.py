"""The embedded sample, which needs no network and no folder of one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkroom.core.params.download import DownloadParams, SampleSource
from darkroom.sources.entries import Entry, EntryStream, Labels
from darkroom.sources.sample import photographs

if TYPE_CHECKING:
    from darkroom.sources.sample.generate import SampleFile


@dataclass(frozen=True)
class Sample:
    """The sample; it is the same everywhere."""

    source: SampleSource
    root: Path
    params: DownloadParams

    def is_present(self) -> bool:
        """Return True."""
        return True

    def describe(self) -> dict[str, Any]:
        """Return what scan notes of the sample."""
        return {"kind": "sample", "digest": photographs.digest()}

    def list_entries(self) -> EntryStream:
        """Return the sample's files as entries, by name."""
        from darkroom.sources.sample import generate  # here: it brings all that decodes images

        entries = [_entry(file) for file in generate.files()]
        return EntryStream(iter(entries), len(entries))


def _entry(file: "SampleFile") -> Entry:
    labels = Labels(ratings=file.ratings, source_group=file.group)
    return Entry(file.name, f"sample:{file.name}", lambda: file.content, labels=labels)
