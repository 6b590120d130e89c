"""Parquet tables with a fixed schema, sorted, equal byte for byte when their rows are equal.

Absence is null. Read with `read_table`, which gives pandas columns in which null is `None` or NaN.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.files import publish


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


_TEXT, _INT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

LABEL_COLUMNS = {
    "label": _TEXT,
    "ratings": pa.list_(_INT),  # votes per score bin
    "mean": _REAL,
    "std": _REAL,
    "source_group": _TEXT,
    "official_split": _TEXT,
}

INDEX = _schema(
    source=_TEXT, name=_TEXT, uri=_TEXT, key=_TEXT, shard=_TEXT, offset=_INT, size=_INT,
    status=_TEXT, reason=_TEXT, **LABEL_COLUMNS,
)  # fmt: skip

PAIRS = _schema(
    key_a=_TEXT, key_b=_TEXT, similarity=_REAL, normalised=_REAL, agreement=_REAL, ssim=_REAL,
    mse=_REAL, inliers=_INT, duplicate=_FLAG, decided_by=_TEXT, related=_FLAG,
)  # fmt: skip

GROUPS = _schema(
    key=_TEXT, copy_group=_TEXT, family=_TEXT, representative=_TEXT, status=_TEXT, reason=_TEXT,
    **LABEL_COLUMNS, records=_INT, label_conflict=_FLAG,
)  # fmt: skip

RECORDS = _schema(
    source=_TEXT, name=_TEXT, key=_TEXT, status=_TEXT, reason=_TEXT, representative=_TEXT
)

DESCRIBED = ("local", "regions", "small")  # what embed keeps of an image beside its embedding

SPLIT = _schema(key=_TEXT, split=_TEXT, split_group=_TEXT, stratum=_TEXT)

AUGMENTED = _schema(
    key=_TEXT, parent=_TEXT, variant=_INT, operations=_TEXT, shard=_TEXT, offset=_INT, size=_INT
)


def embeddings_schema(dimensions: int) -> pa.Schema:
    """Return the schema of `data/embeddings/*.parquet` for vectors of this many dimensions.

    `local` holds the descriptors of its places, row by row, `regions` the vectors of its regions,
    and `small` its greys (`darkroom.embedding.network`). An image that failed all the same has a
    reason, and null for the others.
    """
    vector = pa.list_(pa.float32(), dimensions)
    described = dict.fromkeys(DESCRIBED, pa.binary())
    return _schema(key=_TEXT, reason=_TEXT, embedding=vector, **described)


def write_table(
    frame: pd.DataFrame, path: Path, schema: pa.Schema, sort_by: Sequence[str] = ("key",),
    note: str | None = None,
) -> None:  # fmt: skip
    """Publish `frame` as Parquet, sorted, with exactly the columns of `schema`, and perhaps a note.

    Raises ValueError when columns are missing or unknown.
    """
    if set(frame.columns) != set(schema.names):
        missing = sorted(set(schema.names) - set(frame.columns))
        unknown = sorted(set(frame.columns) - set(schema.names))
        raise ValueError(f"{path}: expected {schema.names}; missing {missing}, unknown {unknown}")
    ordered = frame.sort_values(list(sort_by), kind="stable", na_position="first")
    table = pa.Table.from_pandas(ordered[schema.names], schema=schema, preserve_index=False)
    with publish(path) as handle:
        table = table.replace_schema_metadata(None if note is None else {"note": note})
        pq.write_table(table, handle, compression="zstd")


def read_note(path: Path) -> str | None:
    """Return the note that a table was written with; None without one."""
    try:
        note = (pq.read_schema(path).metadata or {}).get(b"note")
    except pa.ArrowException as error:
        raise UserError(f"{path} is no whole Parquet file: {error}; {_RESTORE}") from error
    return None if note is None else note.decode()


def read_table(
    path: Path, schema: pa.Schema | None = None, columns: list[str] | None = None
) -> pd.DataFrame:
    """Read a table, requiring every column of `schema`.

    Raises FileNotFoundError naming the stage to run, UserError when it is not such a table.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is absent: run `dvc repro`, which writes it, first")
    table = _read(path, columns)
    if schema is not None and columns is None:
        table = _cast(schema, table, path)
    return table.to_pandas()


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    """Read one Parquet file. Raises UserError where it is broken or lacks a column."""
    try:
        with path.open("rb") as handle, pq.ParquetFile(handle) as file:
            names = file.schema_arrow.names
            if columns is not None and not set(columns) <= set(names):
                raise UserError(f"{path}: expected the columns {columns}, got {names}; {_RESTORE}")
            return file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{path} is no whole Parquet file: {error}; {_RESTORE}") from error


_RESTORE = "restore it with `dvc checkout`, or delete it and run `dvc repro`"


def _cast(schema: pa.Schema, table: pa.Table, path: Path) -> pa.Table:
    """Return the table with the types of `schema`, further columns as they are."""
    if missing := sorted(set(schema.names) - set(table.column_names)):
        raise UserError(f"{path}: columns {missing} are missing; {_RESTORE}")
    for field in schema:
        column = table[field.name]
        try:
            column = column.cast(field.type)
        except pa.ArrowException as error:
            raise UserError(
                f"{path}: column {field.name}: expected {field.type}, got {column.type}; {_RESTORE}"
            ) from error
        table = table.set_column(table.column_names.index(field.name), field, column)
    return table


def null_to_none(cell: Any) -> Any:
    """Return a cell of a table in plain Python: None for every kind of null, a list for an array.

    >>> null_to_none(float("nan")), null_to_none(pd.NA), null_to_none(np.int64(3))
    (None, None, 3)
    """
    plain = cell.tolist() if isinstance(cell, np.ndarray | np.generic) else cell
    return None if plain is pd.NA or plain is pd.NaT or plain != plain else plain


def rows(frame: pd.DataFrame, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the cells of these columns row by row, None for every null.

    pandas' own iteration takes four times as long, since its text is Arrow's.
    """
    cells = (frame[name].astype(object).where(frame[name].notna(), None) for name in columns)
    return zip(*(column.tolist() for column in cells), strict=True)


def read_parts(folder: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read every part of a folder of `*.parquet`, in order of name; none gives an empty frame."""
    parts = [_read(path, columns) for path in sorted(folder.glob("*.parquet"))]
    return pa.concat_tables(parts).to_pandas() if parts else pd.DataFrame(columns=columns)


def _read_embedded(path: Path, *columns: str) -> pa.Table:
    """Return `key` and these columns of what has a vector."""
    table = _read(path, ["key", "reason", *columns])
    return table.filter(pc.is_null(table["reason"]))


def read_vectors(folder: Path, wanted: Iterable[str]) -> tuple[list[str], NDArray[np.float32]]:
    """Return the keys of `wanted` that have an embedding, ascending, and these (n, d) in one array.

    Holds 4·n·d bytes and one part; none gives (0, 1). Raises ValueError when parts differ in d.
    """
    paths = sorted(folder.glob("*.parquet"))
    keys = set().union(*(_read_embedded(path)["key"].to_pylist() for path in paths))
    names = sorted(keys.intersection(wanted))
    row = {name: position for position, name in enumerate(names)}
    vectors = np.zeros((0, 1), np.float32)
    for path in paths if names else []:
        table = _read_embedded(path, "embedding").combine_chunks()
        if not table.num_rows:
            continue
        part = table["embedding"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        if not len(vectors):
            vectors = np.empty((len(names), part.shape[1]), np.float32)
        here = [(row[key], i) for i, key in enumerate(table["key"].to_pylist()) if key in row]
        to, of = np.array(here, np.int64).reshape(-1, 2).T
        vectors[to] = part[of]
    return names, vectors


def write_described(
    folder: Path, wanted: Iterable[str], column: str, size: int, target: Path
) -> list[str]:
    """Write what a column says of each of the `wanted` keys, `size` bytes, to a file to be mapped.

    Returns the keys in the order of the file, ascending. Holds one part at a time.
    """
    paths = sorted(folder.glob("*.parquet"))
    keys = set().union(*(_read_embedded(path)["key"].to_pylist() for path in paths))
    names = sorted(keys.intersection(wanted))
    row = {name: position for position, name in enumerate(names)}
    with publish(target) as handle:
        for path in paths if names else []:
            table = _read_embedded(path, column)
            for key, content in zip(table["key"].to_pylist(), table[column], strict=True):
                if key not in row:
                    continue
                buffer = content.as_buffer()
                if buffer.size != size:
                    raise UserError(f"{path}: column {column}: expected {size} bytes; {_RESTORE}")
                handle.seek(row[key] * size)
                handle.write(buffer)
    return names
