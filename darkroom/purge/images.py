"""Take images out for good, for takedown requests: `darkroom purge KEY…`.

Runs while nothing else runs.

1. The key goes on `data/purged.csv` (in git), which `download` reads: these bytes are never stored
   again, under whatever name or from whatever source they come, here or in another clone.
2. The shards that hold the image are written again without it, and `data/raw/index.parquet` after
   them; an old shard goes last. Its previews, and what clean measured, go with it. Killed at any
   moment, a rerun ends the same.
3. Caches and unfinished work in `.darkroom/` go, since they may hold the image or what was computed
   from it; the list of what the sources hold (`scan`) and a fit of the network (`fit`) stay.

Records stay as rows, `withdrawn` with the reason `purged`: source, name and key alone.
"""

import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.core.graphs import connected_components
from darkroom.core.tables import GROUPS, INDEX, PAIRS, read_table
from darkroom.images.previews import PARTS, PREVIEWS
from darkroom.purge.names import find_keys
from darkroom.sources.store.journal import remove_images
from darkroom.sources.store.purged import PURGED, read_purged, write_purged
from darkroom.sources.store.raw_store import RawStore

RAW, DEDUPE = Path("data/raw"), Path("data/dedupe")
SCRATCH = Path(".darkroom")
DOWNLOAD = "download"  # below SCRATCH: what was fetched and is not stored yet
HARMLESS = ("scan", "fit")  # below SCRATCH: no bytes of the data set, and long to make again

NEXT_STEPS = """\
purge: what was derived from it is made again, and old versions dropped, by

  dvc repro                                        # tables, augmented images, model, report
  git add data dvc.lock metrics
  git commit -m "Purge images"
  dvc gc --workspace --force                       # DVC's cache here
  dvc push && dvc gc --workspace --cloud --force   # and a remote; each one with --remote NAME

`dvc gc` drops every version of data and model that this workspace does not use, also those of
other branches, tags and experiments: older commits then name data that is gone. Not reached are
other clones (there: `git pull`, `darkroom purge --from data/purged.csv`, and the same again),
experiments that were killed (.dvc/tmp/exps), exports (export again), browsers that reviewed (for a
day), the sources themselves, and models that were handed out: they were trained on it."""

logger = logging.getLogger(__name__)


def purge_images(root: Path, wanted: Sequence[str], with_copies: bool, dry_run: bool) -> None:
    """Take out the images that `wanted` names, and say what is left to do."""
    index = read_table(root / RAW / "index.parquet", INDEX)
    require_shards(root / RAW, index)
    keys = find_keys(wanted, index, read_purged(root / PURGED))
    copies, relatives = find_copies(root, keys)
    if with_copies:
        keys, copies = sorted([*keys, *copies]), []
    _say("to go" if dry_run else "going", keys, index)
    stored = index[index["key"].isin(keys) & index["shard"].notna()]
    logger.info(
        "purge: %d images, %d records, in %d shards", len(keys),
        int(index["key"].isin(keys).sum()), stored["shard"].nunique(),
    )  # fmt: skip
    _say("stays, although a copy (--with-copies takes it as well)", copies, index)
    _say("stays, a relative: perhaps another view of the same thing", relatives, index)
    if dry_run:
        logger.info("purge: nothing was changed, since this is a dry run")
        return
    purge_keys(root, keys)
    logger.info("purge: done in %s; %s keeps these images out", RAW, PURGED)
    logger.info("purge: where a source still has one of them, delete it there yourself")
    logger.info(NEXT_STEPS)


def find_copies(root: Path, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the other verified copies of these images, and their other relatives.

    Both as the last run of dedupe saw them; empty without one.
    """
    tables = (root / DEDUPE / "pairs.parquet", root / DEDUPE / "groups.parquet")
    if not all(path.exists() for path in tables):
        logger.warning("purge: dedupe has not run, so that copies of these images are not known")
        return [], []
    pairs, groups = read_table(tables[0], PAIRS), read_table(tables[1], GROUPS)
    same = pairs[pairs["duplicate"]]
    links = list(zip(same["key_a"], same["key_b"], strict=True))
    nodes = {*same["key_a"], *same["key_b"], *groups["key"], *keys}
    component = connected_components(nodes, links)
    wanted = {component[key] for key in keys}
    copies = {key for key in nodes if component[key] in wanted} - set(keys)
    families = set(groups.loc[groups["key"].isin([*keys, *copies]), "family"])
    relatives = set(groups.loc[groups["family"].isin(families), "key"])
    return sorted(copies), sorted(relatives - copies - set(keys))


def _say(what: str, keys: Iterable[str], index: pd.DataFrame) -> None:
    for key in keys:
        rows = index[index["key"] == key]
        names = [f"{row.source}:{row.name}" for row in rows.itertuples()]
        logger.info("purge: %s: %s  %s", what, key, ", ".join(names))


def require_shards(folder: Path, index: pd.DataFrame) -> None:
    """Raise UserError when a shard is absent: its images would lose their bytes."""
    absent = sorted(s for s in index["shard"].dropna().unique() if not (folder / s).exists())
    if absent:
        raise UserError(
            f"purge: {RAW / absent[0]} is absent ({len(absent)} of the shards that the index "
            "names); run `dvc pull` or `dvc repro` first"
        )


def purge_keys(root: Path, keys: Iterable[str]) -> None:
    """Put the keys on the list, then take them out of the store and of `.darkroom/`."""
    purged = read_purged(root / PURGED) | set(keys)
    write_purged(root / PURGED, purged)  # first: a rerun of this or of download does the rest
    store = RawStore(root / RAW, purged)
    for source in sorted({row["source"] for row in store.before}):
        store.keep_source(source)
    drop_previews(root, store.finish(), purged)
    clear_scratch(root / SCRATCH, purged)
    for folder in ("data", "metrics"):
        for path in (root / folder).rglob(".unfinished-*"):
            path.unlink()  # of a stage that was killed


def drop_previews(root: Path, index: pd.DataFrame, purged: frozenset[str]) -> None:
    """Remove previews and parts of clean whose raw shard is gone, or that hold a purged key."""
    in_use = {Path(shard).stem for shard in index["shard"].dropna()}
    for part in (root / PARTS).glob("*.parquet"):
        if not purged.isdisjoint(read_table(part, columns=["key"])["key"]):
            in_use.discard(part.stem)
    for path in [*(root / PREVIEWS).glob("*"), *(root / PARTS).glob("*")]:
        if path.stem not in in_use:
            path.unlink()


def clear_scratch(scratch: Path, purged: frozenset[str]) -> None:
    """Remove what may hold a purged image: caches whole, fetched bodies where it is one."""
    for folder in [path for path in scratch.glob("*") if path.is_dir()]:
        if folder.name == DOWNLOAD:
            remove_images(folder, purged)
        elif folder.name not in HARMLESS:
            shutil.rmtree(folder)
