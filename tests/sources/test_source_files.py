"""Files that sources are made of, on this machine and elsewhere."""

import json

from tests.sources.harness import picture, run


def test_lists_and_label_tables_come_from_elsewhere(tmp_path, bucket, server):
    urls = f"url,label\n{server.url}/a.png,x\n".encode()
    labels = b"name,label\nb,y\n"
    server.files = {"/a.png": picture(1), "/urls.csv": urls, "/labels.csv": labels}
    bucket.pipe("/bucket/urls.txt", f"{server.url}/a.png\n".encode())
    bucket.pipe("/bucket/photos/b.png", picture(2))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/b.png").write_bytes(picture(3))
    sources = [
        {"kind": "list", "path": f"{server.url}/urls.csv?token=hidden"},
        {"kind": "list", "path": "memory://bucket/urls.txt"},
        {"kind": "folder", "path": "c", "labels": f"{server.url}/labels.csv?token=hidden"},
    ]
    entries, index = run(tmp_path, *sources)
    assert list(index["status"]) == ["kept"] * 3
    assert sorted(index["label"].dropna()) == ["x", "y"]
    assert "hidden" not in json.dumps(entries) + index.reset_index().to_csv()
    bucket.pipe("/bucket/urls.txt", f"{server.url}/a.png\n# more\n".encode())
    assert run(tmp_path, *sources)[0] != entries
    bucket.store.clear()
    assert len(run(tmp_path, *sources)[1]) == 3
