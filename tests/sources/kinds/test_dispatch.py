"""All kinds of sources together."""

from darkroom.core.shards import key_of
from tests.sources.harness import picture, run, sample, write_shards
from tests.sources.make_archives import tar_of, zip_of


def test_all_kinds_come_together_and_a_column_says_which(tmp_path, bucket, server):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(picture(1))
    (tmp_path / "photos.zip").write_bytes(zip_of([("a.png", picture(2))]))
    write_shards(tmp_path, sample("a", 3, cls=b"x"))
    bucket.pipe("/bucket/a.png", picture(4))
    server.files = {"/a.png": picture(5), "/far.tar": tar_of([("a.png", picture(6))])}
    (tmp_path / "urls.txt").write_text(f"{server.url}/a.png\n")
    sources = [
        {"kind": "folder", "path": "photos"}, {"kind": "archive", "path": "photos.zip"},
        {"kind": "webdataset", "path": "shards/*.tar", "name": "shards"},
        {"kind": "folder", "path": "memory://bucket"}, {"kind": "list", "path": "urls.txt"},
        {"kind": "archive", "path": f"{server.url}/far.tar", "name": "far"},
    ]  # fmt: skip
    entries, index = run(tmp_path, *sources)
    names = {"photos", "photos.zip", "shards", "memory://bucket", "urls.txt", "far"}
    assert set(entries) == names
    found = {row.source: row.key for row in index.itertuples()}
    expected = [key_of(picture(number)) for number in range(1, 7)]
    assert [found[each.get("name", each["path"])] for each in sources] == expected
    assert list(index["status"]) == ["kept"] * 6
