"""Label tables: what they may hold, and what is said of wrong ones."""

import logging

import pytest

from darkroom.core.errors import UserError
from darkroom.sources.entries import Labels
from darkroom.sources.label_tables.match import match_names, parse_rows
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
    assert "1 of 2 files have no label" in caplog.text
