"""Where a source lies, and where what is known about it is kept between runs."""

import hashlib
from pathlib import Path

from stages.lib.params import FolderSource, ListSource, Source, original_root
from stages.sources import folder, weblist

SCAN_CACHE = Path(".darkroom/scan")


def is_present(source: Source, root: Path) -> bool:
    """Return whether the source can be read on this machine."""
    if isinstance(source, FolderSource):
        return folder.is_present(source, root)
    return not isinstance(source, ListSource) or weblist.is_present(source, root)


def cache_of(root: Path, source: FolderSource) -> Path:
    """Return the file of known content hashes; `dvc exp run --temp` shares the original's."""
    digest = hashlib.sha256(source.path.encode()).hexdigest()[:16]
    return original_root(root) / SCAN_CACHE / f"{digest}.tsv"
