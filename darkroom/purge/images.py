"""Take images out for good: `python -m darkroom purge KEY…`, for takedown requests.

Run by a person, while nothing else runs. It is the one exception to "nothing is ever deleted". An
image is named by its key, by the first 8 or more digits of it, or as `SOURCE:NAME`.

1. The key goes on `data/purged.csv` (in git), which `download` obeys: these bytes are never stored
   again, under whatever name or from whatever source they come, here or in another clone.
2. The shards that hold the image are written anew without it, and `data/raw/index.parquet` after
   them; an old shard goes last. Killed at any moment, a rerun ends the same.
3. Caches and unfinished work in `.darkroom/` go, since they may hold the image or what was computed
   from it; the list of what the sources hold (`scan`) and a fit of the network (`fit`) stay.

What later stages derived from it, `dvc repro` makes anew. Records stay as rows, `withdrawn` with
the reason `purged`: source, name and key alone. Sources are never touched. `--dry-run` only says
what would go. `--with-copies` takes the verified copies of the image as well, whatever their size
or edit; without it they are named, since one of them takes its place.
"""

import argparse
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.core.graphs import connected_components
from darkroom.core.params.whole import Params
from darkroom.core.script import run_as_script
from darkroom.core.tables import GROUPS, INDEX, PAIRS, read_table
from darkroom.sources.store.journal import remove_images
from darkroom.sources.store.purged import HEADING, PURGED, read_purged, write_purged
from darkroom.sources.store.raw_store import RawStore

RAW = Path("data/raw")
DEDUPE = Path("data/dedupe")
SCRATCH = Path(".darkroom")
DOWNLOAD = "download"  # below SCRATCH: what was fetched and is not stored yet
HARMLESS = ("scan", "fit")  # below SCRATCH: no bytes of the data set, and long to make again

MIN_DIGITS = 8
KEY_DIGITS = 32

THEN = """\
purge: what was derived from it is made anew, and old versions dropped, by

  dvc repro                                        # tables, augmented images, model, report
  git add data dvc.lock metrics
  git commit -m "Purge images"
  dvc gc --workspace --force                       # DVC's cache here
  dvc push && dvc gc --workspace --cloud --force   # and a remote; each one with --remote NAME

`dvc gc` drops every version of data and model that this workspace does not use, also those of
other branches, tags and experiments: older commits then name data that is gone. Not reached are
other clones (there: `git pull`, `python -m darkroom purge --from data/purged.csv`, and the same
again), experiments that were killed (.dvc/tmp/exps), exports (export again), browsers that reviewed
(for a day), the sources themselves, and models that were handed out: they were trained on it."""

logger = logging.getLogger(__name__)


def find_keys(wanted: Iterable[str], index: pd.DataFrame, purged: frozenset[str]) -> list[str]:
    """Return the keys that `wanted` names. Raises UserError for what is unknown or ambiguous."""
    known = sorted({*index["key"].dropna(), *purged})
    by_name: dict[str, set[str]] = {}
    for row in index[index["key"].notna()].itertuples():
        by_name.setdefault(f"{row.source}:{row.name}", set()).add(str(row.key))
    found: set[str] = set()
    for text in wanted:
        keys = by_name.get(text) or _with_prefix(text, known)
        if not keys:
            raise UserError(
                f"purge: {text!r} is unknown: expected a key of {RAW}/index.parquet ({KEY_DIGITS} "
                f"hexadecimal digits), at least its first {MIN_DIGITS}, or SOURCE:NAME as there"
            )
        found |= keys
    return sorted(found)


def _with_prefix(text: str, known: list[str]) -> set[str]:
    if len(text) < MIN_DIGITS:
        return set()
    keys = {key for key in known if key.startswith(text.lower())}
    if len(keys) > 1:
        raise UserError(
            f"purge: {text!r} begins {len(keys)} keys, as {' and '.join(sorted(keys)[:2])}; give "
            "more digits"
        )
    return keys


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
    akin = set(groups.loc[groups["family"].isin(families), "key"])
    return sorted(copies), sorted(akin - copies - set(keys))


def remove(root: Path, keys: Iterable[str]) -> None:
    """Put the keys on the list, then take them out of the store and of `.darkroom/`."""
    purged = read_purged(root / PURGED) | set(keys)
    write_purged(root / PURGED, purged)  # first: a rerun of this or of download does the rest
    store = RawStore(root / RAW, purged)
    for source in sorted({row["source"] for row in store.before}):
        store.keep_source(source)
    store.finish()
    clear_scratch(root / SCRATCH, purged)
    for folder in ("data", "metrics"):
        for path in (root / folder).rglob(".unfinished-*"):
            path.unlink()  # of a stage that was killed


def clear_scratch(scratch: Path, purged: frozenset[str]) -> None:
    """Remove what may hold a purged image: caches whole, fetched bodies where it is one."""
    for folder in [path for path in scratch.glob("*") if path.is_dir()]:
        if folder.name == DOWNLOAD:
            remove_images(folder, purged)
        elif folder.name not in HARMLESS:
            shutil.rmtree(folder)


def require_shards(folder: Path, index: pd.DataFrame) -> None:
    """Raise UserError when a shard is absent: its images would lose their place."""
    absent = sorted(s for s in index["shard"].dropna().unique() if not (folder / s).exists())
    if absent:
        raise UserError(
            f"purge: {RAW / absent[0]} is absent ({len(absent)} of the shards that the index "
            "names); run `dvc pull` or `dvc repro` first"
        )


def purge(root: Path, wanted: Sequence[str], with_copies: bool, dry_run: bool) -> None:
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
    remove(root, keys)
    logger.info("purge: done in %s; %s keeps these images out", RAW, PURGED)
    logger.info("purge: where a source still has one of them, delete it there yourself")
    logger.info(THEN)


def _say(what: str, keys: Iterable[str], index: pd.DataFrame) -> None:
    for key in keys:
        rows = index[index["key"] == key]
        names = [f"{row.source}:{row.name}" for row in rows.itertuples()]
        logger.info("purge: %s: %s  %s", what, key, ", ".join(names))


def read_list(path: Path) -> list[str]:
    """Return the names in a file, one per line, as also in `data/purged.csv`.

    Empty lines, those of a `#` and the heading are left out.
    """
    if not path.is_file():
        raise UserError(f"purge: --from: there is no file {path}")
    lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    found = [line for line in lines if line and line != HEADING and not line.startswith("#")]
    if not found:
        raise UserError(f"purge: --from: {path} names no image; expected one per line")
    return found


def main() -> None:
    """Read the command line and purge in the repository in the working folder."""
    parser = argparse.ArgumentParser(
        prog="python -m darkroom purge", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("images", nargs="*", metavar="KEY", help="or SOURCE:NAME")
    parser.add_argument("--from", dest="file", type=Path, help="a file of them, one per line")
    parser.add_argument("--with-copies", action="store_true", help="verified copies as well")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    given = parser.parse_args()
    if not given.images and given.file is None:
        parser.error("expected a KEY, SOURCE:NAME or --from FILE")

    def run(root: Path, _: object) -> None:
        wanted = [*given.images, *(read_list(given.file) if given.file else [])]
        purge(root, wanted, given.with_copies, given.dry_run)

    run_as_script(run, Params)


if __name__ == "__main__":
    main()
