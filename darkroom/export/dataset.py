"""Hand the finished data set to other tools: a folder tree, WebDataset shards, or Parquet.

Reads data/split.parquet (which images are kept, and their split), data/dedupe/groups.parquet
(their labels), data/raw and, with --augmented, data/augmented (the bytes, never re-encoded).

Each format comes with labels.csv and labels.parquet. Only an empty or new folder outside data/ is
written to; images stream, so that memory holds tables and one row group.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from darkroom.core import tables
from darkroom.core.csv import escape, rows_to_csv
from darkroom.core.errors import UserError
from darkroom.core.failure_limit import count_failed
from darkroom.core.files import write_text
from darkroom.core.progress import Progress
from darkroom.core.shards import MAX_BYTES, MAX_IMAGES, Location, key_of, read_member, stored
from darkroom.export.writers import FORMATS, LABELS, ExportedImage
from darkroom.images.formats import sniff_extension

RAW, AUGMENTED_FOLDER = Path("data/raw"), Path("data/augmented")
GROUPS_TABLE, SPLIT_TABLE = Path("data/dedupe/groups.parquet"), Path("data/split.parquet")
# Export never writes to these.
OWNED = ("data", "metrics", "stages", "darkroom", ".git", ".dvc", ".darkroom")
UNFINISHED = "EXPORT-UNFINISHED"  # lies in the target until everything is written


def part_numbers(sizes: Iterable[int]) -> list[int]:
    """Return the number of the file that each image goes to: by count, and by bytes."""
    numbers, number, images, total = [], 0, 0, 0
    for size in sizes:
        if images and (images >= MAX_IMAGES or total + size > MAX_BYTES):
            number, images, total = number + 1, 0, 0
        images, total = images + 1, total + size
        numbers.append(number)
    return numbers


def select(
    split: pd.DataFrame, groups: pd.DataFrame, index: pd.DataFrame, augmented: pd.DataFrame | None
) -> pd.DataFrame:
    """Return a row per image to export: labels and location, in the order of split and location.

    Raises UserError when the tables come from different runs.
    """
    labels = groups.rename(columns={"source_group": "group"})
    labels = labels[["key", "label", "mean", "std", "ratings", "group"]]
    kept = split[["key", "split"]].merge(labels, on="key")
    rows = kept.merge(stored(index), on="key")
    rows = rows.assign(folder=str(RAW), parent=None, operations=None)
    if len(rows) != len(split):
        raise UserError(
            f"{SPLIT_TABLE}: {len(split)} images, but {len(rows)} of them have both a label row in"
            f" {GROUPS_TABLE} and bytes in {RAW}: the tables come from different runs."
            " Run `dvc repro` first."
        )
    if augmented is not None and len(augmented):
        parents = kept.rename(columns={"key": "parent"})
        variants = augmented.drop(columns="variant").merge(parents, on="parent")
        rows = pd.concat([rows, variants.assign(folder=str(AUGMENTED_FOLDER))])
    rows = rows.drop_duplicates("key")  # an augmentation that equals an original adds nothing
    rows = rows.sort_values(["split", "folder", "shard", "offset"], ignore_index=True)
    part = rows.groupby("split")["size"].transform(lambda sizes: part_numbers(sizes.astype(int)))
    return rows.assign(part=part)


def read_images(root: Path, rows: pd.DataFrame, failed: dict[str, str]) -> Iterator[ExportedImage]:
    """Yield each image with its bytes, one at a time; one whose bytes its key denies `failed`."""
    progress = Progress("export", len(rows))
    for row in rows.to_dict("records"):
        location = Location(row["shard"], int(row["offset"]), int(row["size"]))
        content = read_member(root / row["folder"], location)
        progress.advance(1)
        if key_of(content) != row["key"]:
            failed[row["key"]] = "corrupt"
            continue
        labels = {name: tables.null_to_none(row[name]) for name in LABELS}
        name = f"{row['key']}.{sniff_extension(content)}"
        yield ExportedImage(name, content, int(row["part"]), labels)
    progress.close(len(rows) - len(failed), {}, Counter(failed.values()))


def prepare_target(root: Path, target: Path) -> Path:
    """Create the target. Raises UserError when it holds anything or belongs to the pipeline."""
    folder = target.expanduser().resolve()
    for name in OWNED:
        if folder.is_relative_to((root / name).resolve()):
            raise UserError(
                f"{target} lies in {name}/, which belongs to the pipeline and may be deleted"
                " by it: choose a folder elsewhere."
            )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{target}: expected a new or empty folder, got a file; choose another.")
    if folder.exists() and any(folder.iterdir()):
        state = "an unfinished export" if (folder / UNFINISHED).exists() else "files"
        raise UserError(
            f"{target}: expected a new or empty folder, got one that holds {state}. Export never"
            " overwrites: choose another folder, or empty this one yourself."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_label_tables(target: Path, rows: pd.DataFrame, names: list[str]) -> None:
    """Write labels.parquet (exact) and labels.csv (one column per score; cells made harmless).

    The CSV has the columns that a Darkroom folder source reads, so that an export can come back.
    """
    table = rows[list(LABELS)].assign(name=names)
    schema = pa.schema([("name", pa.string()), *LABELS.items()])
    tables.write_table(table, target / "labels.parquet", schema, sort_by=["name"])
    votes = [tables.null_to_none(cell) for cell in table["ratings"]]
    bins = max((len(row) for row in votes if row), default=0)
    for position in range(bins):
        cells = [row[position] if row and len(row) > position else None for row in votes]
        table[f"rating_{position + 1}"] = pd.array(cells, dtype="Int64")
    table = table.drop(columns="ratings").sort_values("name")
    used = [name for name in table if name in {"key", "split"} or table[name].notna().any()]
    columns = ["name", *(name for name in used if name != "name")]
    lines = table[columns].itertuples(index=False)
    texts = ([escape(tables.null_to_none(cell)) for cell in line] for line in lines)
    write_text(target / "labels.csv", rows_to_csv(columns, texts))


def export_dataset(root: Path, target: Path, layout: str, with_augmented: bool = False) -> None:
    """Write the data set of `root` to `target` in one of `FORMATS`."""
    rows = select(
        tables.read_table(root / SPLIT_TABLE, tables.SPLIT),
        tables.read_table(root / GROUPS_TABLE, tables.GROUPS),
        tables.read_table(root / RAW / "index.parquet", tables.INDEX),
        tables.read_table(root / AUGMENTED_FOLDER / "index.parquet", tables.AUGMENTED)
        if with_augmented
        else None,
    )
    if rows.empty:
        raise UserError(f"{SPLIT_TABLE} is empty: no image was kept; see metrics/report.html.")
    folder = prepare_target(root, target)
    write_text(folder / UNFINISHED, "This export was interrupted: delete the folder.\n")
    failed: dict[str, str] = {}
    names = FORMATS[layout](folder, read_images(root, rows, failed), rows)
    count_failed("export", failed)
    write_label_tables(folder, rows[~rows["key"].isin(failed)], names)
    (folder / UNFINISHED).unlink()
