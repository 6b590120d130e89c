"""Hand the finished data set to other tools: a folder tree, WebDataset shards, or Parquet.

Reads data/split.parquet (which images are kept, and their split), data/dedupe/groups.parquet
(their labels), data/raw and, with --augmented, data/augmented (the bytes, never re-encoded).

    folder      split/label/<key>.<ext>; without the label level where images have ratings alone
    webdataset  <split>-00000.tar with <key>.<ext> and <key>.json (the labels)
    parquet     data/<split>-00000-of-00001.parquet; column image {bytes, path}, and the labels,
                with the schema metadata by which Hugging Face datasets decodes the image

Each comes with labels.csv and labels.parquet. The CSV is for people, so that cells which a
spreadsheet would run as a formula start with an apostrophe; labels.parquet is exact. A label
becomes a folder name that every file system accepts (`slugs`). Rules: only an empty or new folder
outside data/ is written to; images stream, so that memory holds tables and one row group.

Run by a person: `python -m darkroom export DIR --format folder|webdataset|parquet [--augmented]`.
"""

import argparse
import hashlib
import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from darkroom.core.csv import escape, rows_to_csv
from darkroom.core.errors import UserError
from darkroom.core.files import write_text
from darkroom.core.params.whole import Params
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.core.shards import MAX_BYTES, MAX_IMAGES, Place, read_member, stored, write_shard
from darkroom.core.tables import (
    AUGMENTED,
    GROUPS,
    INDEX,
    SPLIT,
    null_to_none,
    read_table,
    write_table,
)
from darkroom.images.decode import sniff_extension
from darkroom.labels.labelled import is_rated

RAW, AUGMENTED_FOLDER = Path("data/raw"), Path("data/augmented")
GROUPS_TABLE, SPLIT_TABLE = Path("data/dedupe/groups.parquet"), Path("data/split.parquet")
OWNED = ("data", "metrics", "stages", ".git", ".dvc", ".darkroom")  # never written to by export
UNFINISHED = "EXPORT-UNFINISHED"  # lies in the target until everything is written

UNLABELLED = "unlabelled"
MAX_SLUG_BYTES = 100  # file systems allow 255, Windows 260 for a whole path
ROW_GROUP_IMAGES, ROW_GROUP_BYTES = 100, 32 * 2**20  # small: viewers read one row group at a time

# names that Windows keeps for devices, also before an extension
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)

_TEXT, _REAL = pa.string(), pa.float64()
LABELS = {
    "key": _TEXT, "split": _TEXT, "label": _TEXT, "mean": _REAL, "std": _REAL,
    "ratings": pa.list_(pa.int64()), "group": _TEXT, "parent": _TEXT, "operations": _TEXT,
}  # fmt: skip
IMAGE = pa.struct([("bytes", pa.binary()), ("path", _TEXT)])


class Picture(NamedTuple):
    """One image to export: file name, bytes, the part of its split, and its labels."""

    name: str
    content: bytes
    part: int
    labels: dict[str, Any]


def slug(label: str) -> str:
    """Return a folder name, for every file system, that resembles the label."""
    text = unicodedata.normalize("NFC", label)
    kept = (c if unicodedata.category(c)[0] in "LMN" or c in " -_.+&,'" else "_" for c in text)
    short = "".join(kept).encode()[:MAX_SLUG_BYTES].decode(errors="ignore").rstrip(". ")
    hidden = len(short) - len(short.lstrip(". "))
    name = "_" * hidden + short[hidden:]
    return f"{name}_" if not name or DEVICES.fullmatch(name) else name


def slugs(labels: Iterable[str]) -> dict[str, str]:
    """Return a distinct folder name per label; where two meet, all get digits of their sha256.

    Names that differ by case or accent form alone also meet: file systems merge them.
    """
    names = {label: slug(label) for label in sorted(set(labels))}
    for digits in (8, 64):
        met = Counter(_folded(name) for name in [*names.values(), UNLABELLED])
        for label, name in names.items():
            if met[_folded(name)] > 1:
                digest = hashlib.sha256(label.encode()).hexdigest()[:digits]
                names[label] = f"{slug(label)}-{digest}"
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name.casefold())


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
    """Return a row per image to export: labels and place, in the order of split and place.

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


def read_pictures(root: Path, rows: pd.DataFrame) -> Iterator[Picture]:
    """Yield each image with its bytes, one at a time."""
    progress = Progress("export", len(rows))
    for row in rows.to_dict("records"):
        place = Place(row["shard"], int(row["offset"]), int(row["size"]))
        content = read_member(root / row["folder"], place)
        labels = {name: null_to_none(row[name]) for name in LABELS}
        name = f"{row['key']}.{sniff_extension(content)}"
        yield Picture(name, content, int(row["part"]), labels)
        progress.advance(1)
    progress.close(len(rows), {})


def write_folder(target: Path, pictures: Iterable[Picture], rows: pd.DataFrame) -> list[str]:
    """Write split/label/<key>.<ext>; return the names, relative to the target."""
    folders = slugs(rows["label"].dropna())
    flat = not folders and bool(is_rated(rows).any())  # no classes
    names = []
    for picture in pictures:
        label = picture.labels["label"]
        level = "" if flat else UNLABELLED if label is None else folders[label]
        name = Path(picture.labels["split"]) / level / picture.name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with _inside(target, name).open("xb") as handle:  # x: two images never share a file
            handle.write(picture.content)
        names.append(name.as_posix())
    return names


def write_webdataset(target: Path, pictures: Iterable[Picture], rows: pd.DataFrame) -> list[str]:
    """Write <split>-00000.tar …, each image followed by its labels; return shard/member names."""
    names: list[str] = []

    def members(shard: str, group: Iterable[Picture]) -> Iterator[tuple[str, bytes]]:
        for picture in group:
            names.append(f"{shard}/{picture.name}")
            yield picture.name, picture.content
            text = json.dumps(picture.labels, sort_keys=True, ensure_ascii=False)
            yield f"{picture.labels['key']}.json", text.encode()

    for (split, part), group in itertools.groupby(pictures, _file):
        shard = f"{split}-{part:05d}.tar"
        write_shard(_inside(target, Path(shard)), members(shard, group))
    return names


def write_parquet(target: Path, pictures: Iterable[Picture], rows: pd.DataFrame) -> list[str]:
    """Write data/<split>-…parquet in small row groups; return the image paths."""
    schema = pa.schema([("image", IMAGE), *LABELS.items()], metadata=_huggingface())
    last = rows.groupby("split")["part"].max()
    stored_plain = {name: "zstd" for name in LABELS if name != "ratings"}
    packing = {**stored_plain, "ratings.list.element": "zstd", "image.bytes": "none",
               "image.path": "zstd"}  # fmt: skip
    names = []
    for (split, part), group in itertools.groupby(pictures, _file):
        name = Path("data") / f"{split}-{part:05d}-of-{last[split] + 1:05d}.parquet"
        (target / "data").mkdir(exist_ok=True)
        path = _inside(target, name)
        with pq.ParquetWriter(path, schema, compression=packing, use_dictionary=False) as writer:
            for batch in _row_groups(group):
                images = [{"bytes": item.content, "path": item.name} for item in batch]
                table = [{"image": image, **item.labels}
                         for image, item in zip(images, batch, strict=True)]  # fmt: skip
                writer.write_table(pa.Table.from_pylist(table, schema))
                names += [item.name for item in batch]
    return names


def _row_groups(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    batch: list[Picture] = []
    for picture in pictures:
        batch.append(picture)
        heavy = sum(len(item.content) for item in batch) >= ROW_GROUP_BYTES
        if heavy or len(batch) == ROW_GROUP_IMAGES:
            yield batch
            batch = []
    if batch:
        yield batch


def _huggingface() -> dict[str, str]:
    """Return the schema metadata from which `datasets` knows that the struct is an image."""
    kinds = {_TEXT: "string", _REAL: "float64"}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for name, kind in LABELS.items():
        if name == "ratings":
            value = {"dtype": "int64", "_type": "Value"}
            features[name] = {"feature": value, "_type": "Sequence"}
        else:
            features[name] = {"dtype": kinds[kind], "_type": "Value"}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _file(picture: Picture) -> tuple[str, int]:
    return picture.labels["split"], picture.part


def _inside(target: Path, name: Path) -> Path:
    """Return the path, refusing one that leaves the target whatever the tables say."""
    path = (target / name).resolve()
    if not path.is_relative_to(target.resolve()):
        raise UserError(f"{name} would leave {target}: the tables in data/ are damaged; rebuild")
    return path


def write_label_tables(target: Path, rows: pd.DataFrame, names: list[str]) -> None:
    """Write labels.parquet (exact) and labels.csv (one column per score; cells made harmless).

    The CSV has the columns that a Darkroom folder source reads, so that an export can come back.
    """
    table = rows[list(LABELS)].assign(name=names)
    schema = pa.schema([("name", _TEXT), *LABELS.items()])
    write_table(table, target / "labels.parquet", schema, sort_by=["name"])
    votes = pd.DataFrame({"rating": table["ratings"].map(null_to_none)})["rating"]
    bins = max((len(row) for row in votes if row), default=0)
    for position in range(bins):
        cells = [row[position] if row and len(row) > position else None for row in votes]
        table[f"rating_{position + 1}"] = pd.array(cells, dtype="Int64")
    table = table.drop(columns="ratings").sort_values("name")
    used = [name for name in table if name in {"key", "split"} or table[name].notna().any()]
    columns = ["name", *(name for name in used if name != "name")]
    lines = table[columns].itertuples(index=False)
    texts = ([escape(null_to_none(cell)) for cell in line] for line in lines)
    write_text(target / "labels.csv", rows_to_csv(columns, texts))


FORMATS = {"folder": write_folder, "webdataset": write_webdataset, "parquet": write_parquet}


def prepare_target(root: Path, target: Path) -> Path:
    """Create the target. Raises UserError when it holds anything or belongs to the pipeline."""
    place = target.expanduser().resolve()
    for name in OWNED:
        if place.is_relative_to((root / name).resolve()):
            raise UserError(
                f"{target} lies in {name}/, which belongs to the pipeline and may be deleted"
                " by it: choose a folder elsewhere."
            )
    if place.exists() and not place.is_dir():
        raise UserError(f"{target}: expected a new or empty folder, got a file; choose another.")
    if place.exists() and any(place.iterdir()):
        state = "an unfinished export" if (place / UNFINISHED).exists() else "files"
        raise UserError(
            f"{target}: expected a new or empty folder, got one that holds {state}. Export never"
            " overwrites: choose another folder, or empty this one yourself."
        )
    place.mkdir(parents=True, exist_ok=True)
    return place


def export(root: Path, target: Path, form: str, with_augmented: bool = False) -> None:
    """Write the data set of `root` to `target` in one of `FORMATS`."""
    augmented = None
    if with_augmented:
        augmented = read_table(root / AUGMENTED_FOLDER / "index.parquet", AUGMENTED)
    rows = select(
        read_table(root / SPLIT_TABLE, SPLIT),
        read_table(root / GROUPS_TABLE, GROUPS),
        read_table(root / RAW / "index.parquet", INDEX),
        augmented,
    )
    if rows.empty:
        raise UserError(f"{SPLIT_TABLE} is empty: no image was kept; see metrics/report.html.")
    place = prepare_target(root, target)
    write_text(place / UNFINISHED, "This export was interrupted: delete the folder.\n")
    names = FORMATS[form](place, read_pictures(root, rows), rows)
    write_label_tables(place, rows, names)
    (place / UNFINISHED).unlink()


def main() -> None:
    """Read the command line and export the repository in the working folder."""
    parser = argparse.ArgumentParser(
        prog="python -m darkroom export", description="Write the finished data set to DIR."
    )
    parser.add_argument("dir", metavar="DIR", type=Path, help="a new or empty folder")
    parser.add_argument("--format", choices=sorted(FORMATS), default="folder")
    parser.add_argument("--augmented", action="store_true", help="also the augmented images")
    given = parser.parse_args()
    run_as_script(
        lambda root, params: export(root, given.dir, given.format, given.augmented), Params
    )


if __name__ == "__main__":
    main()
