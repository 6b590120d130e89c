"""The embedded sample, which needs no network and no folder of one's own."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from darkroom.core.params.download import DownloadParams, SampleSource
from darkroom.sources.entries import Entry, EntryStream, Labels
from darkroom.sources.sample import photographs


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

        entries = [
            Entry(
                file.name, f"sample:{file.name}", partial(bytes, file.content),
                labels=Labels(ratings=file.ratings, source_group=file.group),
            )
            for file in generate.files()
        ]  # fmt: skip
        return EntryStream(iter(entries), len(entries))
