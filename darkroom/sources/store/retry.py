"""Forget what could not be fetched, so that the next `dvc repro` tries it again.

A plain `dvc repro` fetches what is new in a list of URLs and leaves old failures alone. This takes
the rows of what failed out of `data/raw/index.parquet`, all at once, whatever the reason, so that
the `dvc repro` that follows sees changed data and fetches these, and only these. What fails again
gets its row back; if everything does, no later stage runs. Killed at any moment, it is done or not;
the failures of a download that was stopped half-way are forgotten too.
"""

import logging
from pathlib import Path

from darkroom.core.tables import INDEX, read_table, write_table
from darkroom.sources.store.journal import SCRATCH, Journal

INDEX_PATH = Path("data/raw/index.parquet")

logger = logging.getLogger(__name__)


def forget_failures(root: Path) -> None:
    """Take the failed records out of the index, and say how many there were."""
    Journal(root / SCRATCH).forget_failures()
    path = root / INDEX_PATH
    if not path.exists():
        logger.info("retry: nothing was downloaded yet: `dvc repro` does that")
        return
    index = read_table(path, INDEX)
    failed = index["status"] == "failed"
    for reason, count in index.loc[failed, "reason"].value_counts().items():
        logger.info("retry: %6d  %s", count, reason)
    if failed.any():
        write_table(index[~failed], path, INDEX, ("source", "name", "status", "key"))
    logger.info("retry: %d of %d records failed, to be tried again", failed.sum(), len(index))
