"""Label tables: what they may hold, and what is said of wrong ones."""

import logging
from pathlib import Path

import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.download import FolderSource
from darkroom.sources.entries import Labels
from darkroom.sources.label_tables.match import match_names, parse_rows, read_tables
from darkroom.sources.label_tables.read import read_rows


def parse(tmp_path, text, names=("a.jpg", "sub/b.jpg")):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return match_names(
        path, parse_rows(path, read_rows(path, path.read_bytes()), "name"), list(names)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,label\na.jpg,cat\n", Labels(label="cat")),
        ("name,label,group,split\na.jpg,cat,g1,val\n",
         Labels(label="cat", source_group="g1", official_split="val")),
        ("name,mean\na.jpg,0.25\n", Labels(mean=0.25)),
        ("name,mean,std\na.jpg,5,\n", Labels(mean=5.0)),
        ("name,rating_2,rating_1,rating_3\na.jpg,2,1,\n", Labels(ratings=(1, 2, 0))),
        ("name,rating_1,rating_2\na.jpg,,\n", Labels()),
        ("name;label\na.jpg;cat, dog\n", Labels(label="cat, dog")),
        ("name\tlabel\na.jpg\tcat\n", Labels(label="cat")),
        ("\ufeffname,label\r\na.jpg,cat\r\n", Labels(label="cat")),
        ('name,label\n"a.jpg","two\nlines"\n', Labels(label="two\nlines")),
        ("name,label,fraction\na.jpg,,0.5\n", Labels()),
        ("name,label\n./a.jpg,cat\na.jpg,cat\n", Labels(label="cat")),
    ],
    ids=["label", "group and split", "mean", "empty std", "votes", "no votes", "semicolon", "tab",
         "byte order mark", "quoted", "other column", "repeated and equal"],
)  # fmt: skip
def test_a_row_gives_labels(tmp_path, text, expected):
    assert parse(tmp_path, text)["a.jpg"] == expected


@pytest.mark.parametrize(
    "name", ["sub/b.jpg", "b.jpg", "sub\\b.jpg"], ids=["path", "file name", "backslash"]
)
def test_a_name_is_a_path_or_a_unique_file_name(tmp_path, name):
    assert set(parse(tmp_path, f"name,label\n{name},x\n")) == {"sub/b.jpg"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,x\n", "expected a column `name`; got file, label"),
        ("name,label\n", "no rows"),
        ("", "no rows"),
        ("name,mean\na.jpg,good\n", r"table.csv:2: column mean: expected a number, got 'good'"),
        ("name,mean\na.jpg,nan\n", "expected a number"),
        ("name,rating_1,rating_3\na.jpg,1,2\n", "without gaps; got rating_1, rating_3"),
        ("name,rating_1,mean\na.jpg,1,2\n", "not both"),
        ("name,rating_1,rating_2\na.jpg,1,-2\n", "counts of votes"),
        ("name,rating_1,rating_2\na.jpg,1,0.5\n", "counts of votes"),
        ("name,label\na.jpg,x\na.jpg,y\n", "two rows disagree about a.jpg"),
        ("name,label\nz.jpg,x\n", "none of its 1 names .*'z.jpg'.*'a.jpg'"),
    ],
    ids=["no name column", "no rows", "empty", "words", "nan", "gap", "votes and mean", "negative",
         "half a vote", "contradiction", "nothing matches"],
)  # fmt: skip
def test_a_wrong_table_is_explained(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        parse(tmp_path, text)


def test_ratings_may_be_numbered_with_zeros(tmp_path):
    columns = ",".join(f"rating_{number:02d}" for number in range(1, 11))
    labels = parse(tmp_path, f"name,{columns}\na.jpg,{','.join(map(str, range(10)))}\n")
    assert labels["a.jpg"].ratings == tuple(range(10))


def test_a_number_beyond_all_bins_is_a_column_like_others(tmp_path):
    labels = parse(tmp_path, f"name,label,rating_{'9' * 5000},rating_١\na.jpg,x,1,1\n")
    assert labels["a.jpg"] == Labels(label="x")


def test_an_ambiguous_file_name_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"'a.jpg' is the name of several files"):
        parse(tmp_path, "name,label\na.jpg,x\n", names=("one/a.jpg", "two/a.jpg"))


def test_unknown_and_missing_names_are_counted_in_warnings(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        parse(tmp_path, "name,label\na.jpg,x\ny.jpg,x\nz.jpg,x\n")
    assert "2 of 3 names are no files of the source" in caplog.text
    assert "'y.jpg', 'z.jpg'" in caplog.text


def tell(*tables, names=("a.jpg", "sub/b.jpg"), **source):
    """Return what tables, each (file name, text), say of the names of a source."""
    given = [(Path(name), text.encode()) for name, text in tables]
    settings = {"kind": "folder", "path": "p", "labels": [name for name, _ in tables]}
    return read_tables(FolderSource(**settings, **source), given, list(names))


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("Image Name,MOS\na.jpg,3.5\n", {"name": "Image Name", "mean": "MOS"}, Labels(mean=3.5)),
        ("Image Name,MOS,mean\na.jpg,3,9\n", {"name": "Image Name", "mean": "MOS"},
         Labels(mean=3.0)),
        ("f,c1,c2\na.jpg,1,2\n", {"name": "f", "rating_1": "c1", "rating_2": "c2"},
         Labels(ratings=(1, 2))),
        ("name,kind\na.jpg,x\n", {"label": "kind", "group": "kind"},
         Labels(label="x", source_group="x")),
        ("5.5  a.jpg\n3 b.jpg\n", {"name": 2, "mean": 1}, Labels(mean=5.5)),
        ("a.jpg,1469.27\n", {"name": 1, "mean": 2}, Labels(mean=1469.27)),
    ],
    ids=["names with blanks", "the one that is named", "votes", "one column twice",
         "no header, blanks", "no header, commas"],
)  # fmt: skip
def test_columns_as_a_public_set_names_them(text, columns, expected):
    assert tell(("t.csv", text), columns=columns)["a.jpg"] == expected


def test_a_column_that_is_not_there_is_named_with_its_setting():
    expected = r"expected a column MOS \(download.sources: columns: mean\); got name, mos"
    with pytest.raises(UserError, match=expected):
        tell(("t.csv", "name,mos\na.jpg,3\n"), columns={"mean": "MOS"})


def test_several_tables_add_up_by_file_and_by_column(caplog):
    said = tell(
        ("train.csv", "name,label\na.jpg,cat\n"),
        ("test.csv", "name,label\nb.jpg,dog\n"),
        ("people.csv", "name,group\na.jpg,ann\nb.jpg,bob\n"),
    )
    assert said["a.jpg"] == Labels(label="cat", source_group="ann")
    assert said["sub/b.jpg"] == Labels(label="dog", source_group="bob")
    assert "no label" not in caplog.text


def test_a_table_may_be_a_split():
    said = tell(
        ("train.csv", "name,label\na.jpg,cat\n"), ("val.csv", "name,label\nb.jpg,dog\n"),
        split_from="table",
    )  # fmt: skip
    assert [said[name].official_split for name in ("a.jpg", "sub/b.jpg")] == ["train", "val"]


def test_tables_that_contradict_each_other_are_refused():
    with pytest.raises(UserError, match=r"a.jpg has the label 'dog', and 'cat' in another table"):
        tell(("a.csv", "name,label\na.jpg,cat\n"), ("b.csv", "name,label\na.jpg,dog\n"))
