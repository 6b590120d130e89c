"""The forms of label tables: what each gives, and what is said of wrong ones, with the place."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkroom.core.errors import UserError
from darkroom.sources.entries import Labels
from darkroom.sources.label_tables.match import read_labels

NAMES = ["1.jpg", "2.jpg", "sub/3.jpg"]
AVA = "1 1 0 1 5 17 38 36 15 6 5 1 1 22 1396"


def read(tmp_path, content, names=NAMES):
    path = tmp_path / "table"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(path, path.read_bytes(), names)


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def idealo(*rows):
    return json.dumps([{"image_id": name, "label": votes} for name, votes in rows])


TEN = list(range(10))
FIRST = Labels(ratings=(0, 1, 5, 17, 38, 36, 15, 6, 5, 1))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (idealo(("1", TEN), ("3", TEN)), {"1.jpg": Labels(ratings=tuple(TEN)),
                                          "sub/3.jpg": Labels(ratings=tuple(TEN))}),
        (idealo((2, [1, 2.0])), {"2.jpg": Labels(ratings=(1, 2))}),
        (json.dumps([{"name": "1.jpg", "label": "cat", "box": [1]}, {"name": "2", "group": 4}]),
         {"1.jpg": Labels(label="cat"), "2.jpg": Labels(source_group="4")}),
        (f"{AVA}\n", {"1.jpg": FIRST}),
        (f"{AVA}\r\n{AVA.replace('1 1 0', '2 2 9', 1)}", {
            "1.jpg": FIRST, "2.jpg": Labels(ratings=(9, *FIRST.ratings[1:]))}),
        (parquet(name=["1", "3.jpg"], label=[7, None]), {
            "1.jpg": Labels(label="7"), "sub/3.jpg": Labels()}),
        (parquet(name=["1"], ratings=[[1, 2, 3]], key=["x"]), {"1.jpg": Labels(ratings=(1, 2, 3))}),
        (parquet(name=["1", "2"], ratings=[[1, 2], None]), {
            "1.jpg": Labels(ratings=(1, 2)), "2.jpg": Labels()}),
        (parquet(name=pa.array(["1"]).dictionary_encode(), mean=pa.array([2.5], pa.float32())),
         {"1.jpg": Labels(mean=2.5)}),
        ("\ufeffname,label\r\n1,cat\r\n\r\n2,dog\r\n", {
            "1.jpg": Labels(label="cat"), "2.jpg": Labels(label="dog")}),
        ("name,label\n1,Ü\n".encode("utf-16"), {"1.jpg": Labels(label="Ü")}),
        ("name,label\n1,cat,,\n", {"1.jpg": Labels(label="cat")}),
        ("name,label\nsub/3,cat\n", {"sub/3.jpg": Labels(label="cat")}),
        ("name,label\n1.jpg,cat\n1,cat\n", {"1.jpg": Labels(label="cat")}),
    ],
    ids=["idealo", "idealo, odd types", "objects", "AVA", "AVA, two lines", "parquet, classes",
         "parquet, votes", "parquet, no votes", "parquet, dictionary", "mark and CRLF", "UTF-16",
         "trailing commas", "path without extension", "equal rows"],
)  # fmt: skip
def test_each_form_gives_labels(tmp_path, content, expected):
    assert read(tmp_path, content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{AVA}\n2 2 1 1\n", r"table:2: expected 15 numbers as in AVA\.txt .*got '2 2 1 1'"),
        (f"{AVA}\n{AVA.replace('36', '-3')}\n", r"table:2: expected 15 numbers"),
        (f"{AVA}\n{AVA.replace(' 17 ', ' 18 ')}\n", r"disagree about 1\.jpg, the 1\. and the 2\."),
        ("[1, 2]", "expected a list as"), ('{"image_id": "1"}', "expected a list as"),
        ('[{"image_id": "1", "label": [1,', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (idealo(("1", [0.25, 0.75])), "item 1: column rating_1: expected counts.*mean and std"),
        (idealo(("1", [1, -2])), r"item 1: rating_…: expected counts of votes, 0 to"),
        (idealo(("1", [1, math.nan])), "item 1: column rating_2: expected a number, got 'nan'"),
        (idealo(("1", [1, math.inf])), "item 1: column rating_2: expected a number, got 'inf'"),
        (idealo(("1", [1, 10**30])), "item 1: rating_…: expected counts of votes"),
        (idealo(("1", [[1], 2])), r"item 1: label: expected counts of votes, got \[\[1\], 2\]"),
        (idealo(("1", ["many"])), "item 1: column rating_1: expected a number, got 'many'"),
        (parquet(name=["1", "2"], mean=[1.0, math.nan]), "row 2: column mean: expected a number"),
        (parquet(name=["1", "2"], mean=[1.0, 1.0], std=[1.0, -1.0]),
         "row 2: column std: expected 0 or more"),
        (parquet(name=["1"], mean=["good"]), "row 1: column mean: expected a number, got 'good'"),
        (parquet(file=["1"], mean=[1.0]), "expected a column `name`; got file, mean"),
        (parquet(name=["1"], mean=[1.0])[:-9], "not a whole Parquet file"),
        ("name,label\n1,caf\xe9\n".encode("latin-1"), r"table:2: not UTF-8 .* 0xe9\); save"),
        ("name,label,label\n1,a,b\n", "table:1: the column label comes twice"),
        ("name,label\n1,a,b\n", "table:2: expected 2 cells, got 3; put cells"),
        ('name,label\n1,"two\nlines"\n2,"x\n', "table:4: not valid CSV: unexpected end of data"),
        ('name,mean\n1,"1"\n"2",\n3,"a\nb"\n', r"table:4: column mean: expected a number"),
        ("name,mean,std\n1,1,-0.5\n", "table:2: column std: expected 0 or more"),
        (b"\xff\xd8\xff\xe0 a picture", "not UTF-8 text"),
        (b"PK\x03\x04 a zip", "got a spreadsheet or a zip"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_explained_with_its_place(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


def test_idealo_rows_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"item 2: expected 10 votes as in .*item 1, got 9"):
        read(tmp_path, idealo(("1", TEN), ("2", TEN[:9])))


def test_a_stem_that_several_files_share_is_refused(tmp_path):
    with pytest.raises(UserError, match="'1' is the name of several files"):
        read(tmp_path, "name,label\n1,x\n", ["1.jpg", "1.png"])
    assert read(tmp_path, "name,label\n1.png,x\n", ["1.jpg", "1.png"]) == {
        "1.png": Labels(label="x")
    }
