import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.files import unfinished, write_bytes, write_json, write_metrics, write_text


def test_published_bytes_are_whole_and_nothing_else_is_left(tmp_path):
    write_bytes(tmp_path / "new" / "file", b"abc")
    assert (tmp_path / "new" / "file").read_bytes() == b"abc"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_a_published_file_is_replaced_never_written_into(tmp_path):
    published, cached = tmp_path / "file", tmp_path / "cached"
    write_text(published, "old")
    cached.hardlink_to(published)  # as DVC's cache may be
    write_text(published, "new")
    assert cached.read_text() == "old"
    assert published.read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def test_json_does_not_depend_on_the_order_of_keys(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "y": {"b": 2, "a": None}})
    write_json(tmp_path / "b", {"y": {"a": None, "b": 2}, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "metrics",
    [{"a": [1]}, {"a": {"b": [1, 2]}}, {"a": ()}],
    ids=["list", "nested list", "tuple"],
)
def test_metrics_refuse_what_dvc_would_drop(tmp_path, metrics):
    with pytest.raises(TypeError, match="lists"):
        write_metrics(tmp_path / "m.json", metrics)
    assert not (tmp_path / "m.json").exists()


def test_the_temporary_name_lies_beside_the_target_so_that_renaming_is_one_step(tmp_path):
    temporary = unfinished(tmp_path / "folder" / "a.tar")
    assert temporary.parent == tmp_path / "folder"
    assert temporary.parent.is_dir()
    assert temporary.name != "a.tar"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ).filter(lambda value: isinstance(value, dict))
)
def test_metrics_come_back_as_they_were(tmp_path_factory, metrics):
    path = tmp_path_factory.mktemp("metrics") / "m.json"
    write_metrics(path, metrics)
    assert json.loads(path.read_text()) == metrics
