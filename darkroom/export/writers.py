"""The formats: a folder tree, WebDataset shards, Parquet. Bytes are never re-encoded."""

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from darkroom.core.errors import UserError
from darkroom.core.shards import write_shard
from darkroom.export.folder_names import UNLABELLED, slugs
from darkroom.labels.labelled import is_rated

ROW_GROUP_IMAGES, ROW_GROUP_BYTES = 100, 32 * 2**20  # small: viewers read one row group at a time

_TEXT, _REAL = pa.string(), pa.float64()
LABELS = {
    "key": _TEXT, "split": _TEXT, "label": _TEXT, "mean": _REAL, "std": _REAL,
    "ratings": pa.list_(pa.int64()), "group": _TEXT, "parent": _TEXT, "operations": _TEXT,
}  # fmt: skip
IMAGE = pa.struct([("bytes", pa.binary()), ("path", _TEXT)])


class ExportedImage(NamedTuple):
    """One image to export: file name, bytes, the part of its split, and its labels."""

    name: str
    content: bytes
    part: int
    labels: dict[str, Any]


def write_folder(target: Path, images: Iterable[ExportedImage], rows: pd.DataFrame) -> list[str]:
    """Write split/label/<key>.<ext>, without label for ratings alone; return the names."""
    folders = slugs(rows["label"].dropna())
    flat = not folders and bool(is_rated(rows).any())  # no classes
    names = []
    for image in images:
        label = image.labels["label"]
        level = "" if flat else UNLABELLED if label is None else folders[label]
        name = Path(image.labels["split"]) / level / image.name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with _inside(target, name).open("xb") as handle:  # x: two images never share a file
            handle.write(image.content)
        names.append(name.as_posix())
    return names


def write_webdataset(
    target: Path, images: Iterable[ExportedImage], rows: pd.DataFrame
) -> list[str]:
    """Write <split>-00000.tar …, each image followed by its labels; return shard/member names."""
    names: list[str] = []

    def members(shard: str, group: Iterable[ExportedImage]) -> Iterator[tuple[str, bytes]]:
        for image in group:
            names.append(f"{shard}/{image.name}")
            yield image.name, image.content
            text = json.dumps(image.labels, sort_keys=True, ensure_ascii=False)
            yield f"{image.labels['key']}.json", text.encode()

    for (split, part), group in itertools.groupby(images, _file):
        shard = f"{split}-{part:05d}.tar"
        write_shard(_inside(target, Path(shard)), members(shard, group))
    return names


def write_parquet(target: Path, images: Iterable[ExportedImage], rows: pd.DataFrame) -> list[str]:
    """Write data/<split>-…parquet in small row groups; return the image paths."""
    schema = pa.schema([("image", IMAGE), *LABELS.items()], metadata=_huggingface())
    last = rows.groupby("split")["part"].max()
    packed = [*LABELS.keys() - {"ratings"}, "ratings.list.element", "image.path"]
    packing = dict.fromkeys(packed, "zstd") | {"image.bytes": "none"}
    names = []
    for (split, part), group in itertools.groupby(images, _file):
        name = Path("data") / f"{split}-{part:05d}-of-{last[split] + 1:05d}.parquet"
        (target / "data").mkdir(exist_ok=True)
        path = _inside(target, name)
        with pq.ParquetWriter(path, schema, compression=packing, use_dictionary=False) as writer:
            for batch in _row_groups(group):
                table = [
                    {"image": {"bytes": item.content, "path": item.name}, **item.labels}
                    for item in batch
                ]
                writer.write_table(pa.Table.from_pylist(table, schema))
                names += [item.name for item in batch]
    return names


def _row_groups(images: Iterable[ExportedImage]) -> Iterator[list[ExportedImage]]:
    batch: list[ExportedImage] = []
    for image in images:
        batch.append(image)
        heavy = sum(len(item.content) for item in batch) >= ROW_GROUP_BYTES
        if heavy or len(batch) == ROW_GROUP_IMAGES:
            yield batch
            batch = []
    if batch:
        yield batch


def _huggingface() -> dict[str, str]:
    """Return the schema metadata from which `datasets` knows that the struct is an image."""
    kinds, votes = {_TEXT: "string", _REAL: "float64"}, {"dtype": "int64", "_type": "Value"}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for name, kind in LABELS.items():
        features[name] = {"dtype": kinds.get(kind), "_type": "Value"}
    features["ratings"] = {"feature": votes, "_type": "Sequence"}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _file(image: ExportedImage) -> tuple[str, int]:
    return image.labels["split"], image.part


def _inside(target: Path, name: Path) -> Path:
    """Return the path, refusing one that leaves the target whatever the tables say."""
    path = (target / name).resolve()
    if not path.is_relative_to(target.resolve()):
        raise UserError(f"{name} would leave {target}: the tables in data/ are damaged; rebuild")
    return path


FORMATS = {"folder": write_folder, "webdataset": write_webdataset, "parquet": write_parquet}
