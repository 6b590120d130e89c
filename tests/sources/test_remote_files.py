"""Remote stores through drivers: reached or not, fetched once."""

import io
import logging

import pandas as pd
import pytest

from darkroom.core.errors import UserError
from tests.sources.harness import PICTURES, contents, picture, run, sample
from tests.sources.make_archives import tar_of, zip_of


def test_a_remote_store_that_cannot_be_reached_keeps_its_records(tmp_path, bucket, caplog):
    bucket.pipe("/bucket/photos.zip", zip_of(PICTURES))
    bucket.pipe("/bucket/photos/a.png", picture(9))
    bucket.pipe("/bucket/s/0.tar", tar_of(sample("a", 50)))
    sources = [
        {"kind": "archive", "path": "memory://bucket/photos.zip"},
        {"kind": "folder", "path": "memory://bucket/photos"},
        {"kind": "webdataset", "path": "memory://bucket/s/*.tar"},
    ]
    entries, before = run(tmp_path, *sources)
    assert len(before) == 6
    bucket.store.clear()
    with caplog.at_level(logging.WARNING):
        again, after = run(tmp_path, *sources)
    assert again == entries
    pd.testing.assert_frame_equal(after, before)
    assert caplog.text.count("is not on this machine") == 6
    with pytest.raises(UserError, match=r"memory://bucket/none\.zip cannot be reached: FileNotF"):
        run(tmp_path, {"kind": "archive", "path": "memory://bucket/none.zip"})


def test_a_remote_archive_goes_on_where_it_was_killed(tmp_path, bucket, monkeypatch):
    content = zip_of(PICTURES)
    bucket.pipe("/bucket/photos.zip", content)
    source = {"kind": "archive", "path": "memory://bucket/photos.zip"}
    real, offsets = bucket.open, []

    def breaking(path, mode="rb", **options):
        handle = real(path, mode, **options)
        if mode == "rb" and not offsets:
            whole, handle = handle.read(), io.BytesIO()
            offsets.append(0)
            handle.read = lambda size: (_ for _ in ()).throw(OSError("gone")) if size else b""
            (tmp_path / "half").write_bytes(whole)
        return handle

    monkeypatch.setattr(type(bucket), "open", lambda self, *a, **o: breaking(*a, **o))
    with pytest.raises(UserError, match="cannot be reached: OSError: gone"):
        run(tmp_path, source)
    part = next((tmp_path / ".darkroom/remote").glob("part-*"))
    part.write_bytes(content[:100])
    _, index = run(tmp_path, source)
    assert contents(tmp_path, index) == dict(PICTURES)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3://bucket/photos.zip", "needs the package s3fs, which is not installed: pip install"),
        ("gs://bucket/photos.zip", "needs the package gcsfs"),
        ("az://bucket/photos.zip", "needs the package adlfs"),
        ("file:///etc/photos.zip", "expected a path on this machine, or a URL that begins with"),
        ("memory://bucket/photos.zip", "expected a path on this machine"),
        ("simplecache::s3://bucket/photos.zip", "there is no file|expected a path on this"),
        ("zip://a.zip::http://x.org/b.zip", "expected a path on this machine"),
        ("ftp://x.org/photos.zip", "expected a path on this machine"),
        ("http://127.0.0.1:9/photos.zip", "cannot be reached: private_address"),
        ("http://169.254.169.254/latest", "cannot be reached: private_address"),
    ],
)
@pytest.mark.parametrize("kind", ["archive", "webdataset"])
def test_a_protocol_without_driver_or_sense_is_explained(tmp_path, path, message, kind):
    with pytest.raises(UserError, match=message) as caught:
        run(tmp_path, {"kind": kind, "path": path}, allow_private_hosts=False)
    assert "params.yaml" in str(caught.value)
