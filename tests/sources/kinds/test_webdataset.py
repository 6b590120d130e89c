"""WebDataset shards: which are meant, and the labels beside their images."""

import json
import logging

import pandas as pd
import pytest

from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of
from darkroom.export.dataset import export_dataset
from darkroom.sources import remote_files
from tests.sources.harness import PICTURES, contents, picture, run, sample, write_shards
from tests.sources.make_archives import tar_of


@pytest.mark.parametrize(
    "path", ["shards/{00000..00001}.tar", "shards/*.tar", "shards", "shards/0000{0,1}.tar"]
)
def test_shards_are_given_by_range_glob_list_or_folder(tmp_path, path):
    write_shards(tmp_path, sample("a", 1), sample("a", 2))
    entries, index = run(tmp_path, {"kind": "webdataset", "path": path})
    assert entries[path]["shards"] == 2
    assert list(index.index) == ["00000.tar/a.png", "00001.tar/a.png"]
    assert contents(tmp_path, index)["00001.tar/a.png"] == picture(2)


def test_labels_come_from_json_and_cls(tmp_path):
    rated = json.dumps({"mean": 5.5, "std": 1, "group": "g", "split": "train", "caption": "x"})
    votes = json.dumps({"rating_1": 3, "rating_2": 4, "width": 10})
    write_shards(tmp_path, [
        *sample("a", 1, cls=b"7"), *sample("b", 2, json=rated.encode(), txt=b"a caption"),
        *sample("c", 3, json=votes.encode()), *sample("d", 4, json=b"{broken"), *sample("e", 5),
        *sample("f", 6, json=json.dumps({"label": [1, 2, 3]}).encode()),
    ])  # fmt: skip
    _, index = run(tmp_path, {"kind": "webdataset", "path": "shards/00000.tar"})
    index = index.rename(lambda name: name[len("00000.tar/")])
    assert index.loc["a", "label"] == "7"
    row = index.loc["b"]
    assert (row["mean"], row["std"], row["source_group"], row["official_split"]) == (
        5.5, 1, "g", "train",
    )  # fmt: skip
    assert list(index.loc["c", "ratings"]) == [3, 4]
    assert list(index.loc["f", "ratings"]) == [1, 2, 3]
    assert index.loc[["d", "e"], ["label", "mean"]].isna().all(axis=None)


def test_the_layout_of_img2dataset_is_read_and_its_captions_are_said_to_be_left(tmp_path, caplog):
    about = json.dumps({"caption": "a cat", "url": "http://x/1.jpg", "status": "success"}).encode()
    members = sample("000000001", 1, json=about, txt=b"a cat") + sample("000000002", 2, txt=b"b")
    write_shards(tmp_path, members)
    with caplog.at_level(logging.INFO):
        _, index = run(tmp_path, {"kind": "webdataset", "path": "shards/00000.tar"})
    assert list(index["status"]) == ["kept", "kept"]
    assert "members that are no images: 2 .txt" in caplog.text


def test_a_table_may_label_shards(tmp_path):
    write_shards(tmp_path, sample("one", 1, cls=b"7"), sample("two", 2))
    (tmp_path / "labels.csv").write_text("name,label\none,first\n00001.tar/two.png,second\n")
    source = {"kind": "webdataset", "path": "shards/*.tar", "labels": "labels.csv"}
    _, index = run(tmp_path, source)
    assert list(index["label"]) == ["first", "second"]


def test_faults_of_shards_are_rows(tmp_path):
    write_shards(tmp_path, [*sample("a", 1), ("../b.png", b"x"), ("c.json", b"{}")], sample("d", 2))
    whole = (tmp_path / "shards/00000.tar").read_bytes()
    (tmp_path / "shards/00002.tar").write_bytes(b"<html>not found</html>" * 50)
    (tmp_path / "shards/00003.tar").write_bytes(whole[:512])
    _, index = run(tmp_path, {"kind": "webdataset", "path": "shards/*.tar"})
    assert dict(index.loc[index["status"] == "failed", "reason"]) == {
        "00000.tar/../b.png": "escapes", "00000.tar/c": "no_image", "00002.tar": "not_an_archive",
        "00003.tar/a.png": "truncated",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("shards/{00000..00009}.tar", r"00001\.tar and 8 more are not there"),
        ("shards/x*.tar", "no shard is not there|no shard is there|not there"),
        ("shards/{5..2}.tar", "expected 1 to 1,000,000 shards, got -2"),
        ("shards/{0..99999999999}.tar", "got 100,000,000,000"),
    ],
)
def test_a_wrong_range_is_explained(tmp_path, path, message):
    write_shards(tmp_path, sample("a", 1))
    with pytest.raises(UserError, match=message):
        run(tmp_path, {"kind": "webdataset", "path": path})


def test_our_own_raw_shards_come_back_with_their_labels(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "photos").mkdir(parents=True)
    for name, content in PICTURES:
        (first / "photos" / name[-5:]).write_bytes(content)
    (first / "photos/copy.png").write_bytes(PICTURES[0][1])
    (first / "labels.csv").write_text(
        "name,label,rating_1,rating_2,split\n0.png,a,1,2,train\ncopy.png,b,1,2,train\n1.png,c,,,\n"
    )
    source = {"kind": "folder", "path": "photos", "labels": "labels.csv"}
    run(first, source)
    (first / "photos/3.png").unlink()
    _, before = run(first, source)
    second.mkdir()
    _, after = run(second, {"kind": "webdataset", "path": str(first / "data/raw/*.tar")})
    kept = before[before["status"] == "kept"]
    columns = ["key", "label", "official_split"]
    found, expected = (
        sorted(map(tuple, frame[columns].fillna("").to_numpy())) for frame in (after, kept)
    )
    assert found == expected
    assert [list(r) for r in after["ratings"].dropna()] == [[1, 2], [1, 2]]


def test_our_own_export_comes_back_with_its_labels(store, tmp_path, values):
    root, _ = store
    from stages import split

    split.run(root, check_params(values, Params))
    export_dataset(root, tmp_path / "out", "webdataset")
    labels = pd.read_parquet(tmp_path / "out/labels.parquet").set_index("key")
    back = tmp_path / "back"
    back.mkdir()
    _, index = run(back, {"kind": "webdataset", "path": str(tmp_path / "out/*.tar")})
    index = index.set_index("key")
    assert set(index.index) == set(labels.index)
    assert dict(index["official_split"]) == dict(labels["split"])
    for column in ("label", "mean", "std"):
        assert dict(index[column].dropna()) == dict(labels[column].dropna())


@pytest.mark.parametrize("path", ["memory://bucket/s/{0..1}.tar", "memory://bucket/s/*.tar"])
def test_remote_shards_are_read_and_not_fetched_again(tmp_path, bucket, path, monkeypatch):
    for number in range(2):
        bucket.pipe(f"/bucket/s/{number}.tar", tar_of(sample("a", number, cls=b"x")))
    source = {"kind": "webdataset", "path": path}
    _, index = run(tmp_path, source)
    assert list(index.index) == ["0.tar/a.png", "1.tar/a.png"]
    monkeypatch.setattr(remote_files, "_copy", None)
    _, again = run(tmp_path, source)
    pd.testing.assert_frame_equal(again, index)


def test_shards_of_one_size_and_one_etag_are_told_apart(tmp_path, server):
    """As nginx serves shards that were copied there in one second."""
    server.tag = '"6650a1b2-2800"'
    for number in range(2):
        server.files[f"/{number}.tar"] = tar_of([(f"{number}.png", picture(number))])
    assert len({len(content) for content in server.files.values()}) == 1
    source = {"kind": "webdataset", "path": f"{server.url}/{{0..1}}.tar"}
    for _ in range(2):
        _, index = run(tmp_path, source)
        assert dict(index["key"]) == {f"{n}.tar/{n}.png": key_of(picture(n)) for n in range(2)}
