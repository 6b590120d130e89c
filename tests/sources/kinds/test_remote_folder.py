"""Folders on a remote store."""

import pandas as pd
import pytest

from darkroom.core.errors import UserError
from darkroom.sources import remote_files
from tests.sources.harness import PICTURES, contents, picture, run


def test_a_remote_folder_is_fetched_once(tmp_path, bucket, monkeypatch):
    for name, content in [*PICTURES, (".hidden", b"x"), ("[1] *?#.png", picture(9)), ("0", b"")]:
        bucket.pipe(f"/bucket/photos/{name}", content)
    bucket.pipe("/bucket/photos/labels.csv", b"name,label\n0.png,zero\n")
    source = {"kind": "folder", "path": "memory://bucket/photos", "labels": "labels.csv"}
    entries, index = run(tmp_path, source)
    expected = {**dict(PICTURES), "[1] *?#.png": picture(9), "0": b""}
    assert contents(tmp_path, index) == expected
    assert index.loc["train/cat/0.png", "label"] == "zero"
    assert index.loc["train/cat/0.png", "uri"] == "memory://bucket/photos/train/cat/0.png"

    def refuse(*arguments):
        raise AssertionError("was read again")

    with monkeypatch.context() as patch:
        patch.setattr(remote_files, "read_many", refuse)
        again, same = run(tmp_path, source)
        assert again == entries
        pd.testing.assert_frame_equal(same, index)
    bucket.pipe("/bucket/photos/train/cat/0.png", picture(77))
    changed, after = run(tmp_path, source)
    assert changed != entries
    assert picture(77) in contents(tmp_path, after).values()


def test_a_folder_over_http_is_explained(tmp_path):
    with pytest.raises(UserError, match="a folder cannot be listed over http; use kind: list"):
        run(tmp_path, {"kind": "folder", "path": "https://example.org/photos/"})
