import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core import tables
from darkroom.core.errors import UserError

ROWS = st.lists(
    st.tuples(
        st.text(max_size=5),
        st.none() | st.text(max_size=5),
        st.none() | st.integers(-(2**40), 2**40),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
        st.none() | st.lists(st.integers(0, 9), max_size=3),
    ),
    unique_by=lambda row: row[0],
    max_size=8,
)
SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "text": pa.string(),
        "count": pa.int64(),
        "score": pa.float64(),
        "flag": pa.bool_(),
        "votes": pa.list_(pa.int64()),
    }
)


def frame_of(rows):
    columns = zip(*rows, strict=True) if rows else [[]] * len(SCHEMA.names)
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=object)
            for name, values in zip(SCHEMA.names, columns, strict=True)
        }
    )


@given(ROWS, st.randoms())
def test_a_table_comes_back_sorted_with_null_as_null_whatever_the_order(
    tmp_path_factory, rows, chance
):
    folder = tmp_path_factory.mktemp("tables")
    tables.write_table(frame_of(rows), folder / "a.parquet", SCHEMA)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    tables.write_table(frame_of(shuffled), folder / "b.parquet", SCHEMA)
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    found = pa.parquet.read_table(folder / "a.parquet").to_pylist()
    assert [tuple(row.values()) for row in found] == sorted(rows, key=lambda row: row[0])


def test_missing_and_unknown_columns_are_named(tmp_path):
    frame = pd.DataFrame({"key": ["a"], "splitt": ["train"], "split_group": ["a"], "stratum": [""]})
    with pytest.raises(ValueError, match=r"missing \['split'\], unknown \['splitt'\]"):
        tables.write_table(frame, tmp_path / "split.parquet", tables.SPLIT)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_table_says_what_writes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"groups\.parquet is absent: run `dvc repro`"):
        tables.read_table(tmp_path / "groups.parquet", tables.GROUPS)


def test_a_table_of_another_version_is_refused(tmp_path):
    old = pa.schema({"key": pa.string()})
    tables.write_table(pd.DataFrame({"key": ["a"]}), tmp_path / "t.parquet", old)
    with pytest.raises(UserError, match=r"columns .*'split'.* are missing"):
        tables.read_table(tmp_path / "t.parquet", tables.SPLIT)


def test_parts_are_read_in_order_of_name_and_none_gives_an_empty_frame(tmp_path):
    schema = pa.schema({"key": pa.string()})
    for name, key in [("00001", "a"), ("00000", "b")]:
        tables.write_table(pd.DataFrame({"key": [key]}), tmp_path / f"{name}.parquet", schema)
    assert list(tables.read_parts(tmp_path)["key"]) == ["b", "a"]
    empty = tables.read_parts(tmp_path / "absent", ["key"])
    assert list(empty.columns) == ["key"]
    assert empty.empty


def test_embeddings_keep_their_width(tmp_path):
    schema = tables.embeddings_schema(3)
    frame = pd.DataFrame({"key": ["a"], "reason": [None], "embedding": [[0.0, 0.6, 0.8]]})
    frame[list(tables.DESCRIBED)] = b"\0" * 8
    tables.write_table(frame, tmp_path / "e.parquet", schema)
    assert pa.parquet.read_schema(tmp_path / "e.parquet").equals(schema)


def test_vectors_come_in_order_of_key_from_any_part_without_what_failed(tmp_path):
    schema = tables.embeddings_schema(2)
    for part, keys in (("00000", ["b", "d"]), ("00001", []), ("00002", ["a", "c"])):
        vectors = [np.array([ord(key), 1], np.float32) for key in keys]
        vectors = [
            None if key == "b" else vector for key, vector in zip(keys, vectors, strict=True)
        ]
        frame = pd.DataFrame({"key": keys, "embedding": pd.Series(vectors, dtype=object)})
        content = [None if key == "b" else key.encode() for key in keys]
        frame = frame.assign(**dict.fromkeys(tables.DESCRIBED, content))
        frame["reason"] = ["corrupt" if key == "b" else None for key in keys]
        tables.write_table(frame, tmp_path / f"{part}.parquet", schema)
    keys, vectors = tables.read_vectors(tmp_path, ["d", "a", "b", "c", "x"])
    assert keys == ["a", "c", "d"]
    assert vectors.tolist() == [[ord(key), 1] for key in keys]
    written = tmp_path / "local.bin"
    assert tables.write_described(tmp_path, "dabx", "local", 1, written) == ["a", "d"]
    assert written.read_bytes() == b"ad"


def test_no_vectors(tmp_path):
    assert tables.read_vectors(tmp_path, ["a"])[0] == []
