"""Scan and download from archives, shards, remote stores and folders: alone, together, again."""

import gzip
import io
import json
import logging
import os
import signal
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pandas as pd
import pytest
import yaml
from PIL import Image

from darkroom.core import shards
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import Location, key_of, read_member
from darkroom.core.tables import INDEX, read_table
from darkroom.export.dataset import export_dataset
from darkroom.sources import remote_files
from darkroom.sources.archives import formats
from stages import download, scan
from tests.harness import REPOSITORY, read_values, tool_environment
from tests.sources.make_archives import PACKERS, special, tar_of, zip_of

LOCAL = {"allow_private_hosts": True, "timeout_s": 2, "retries": 1}


def picture(number):
    """Return a small PNG, another for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [(f"train/cat/{number}.png", picture(number)) for number in range(4)]


def params_for(*sources, **changes):
    values = read_values()
    values["download"] |= {"sources": list(sources), "max_failed_fraction": 0.9, **LOCAL, **changes}
    return check_params(values, Params)


def run(root, *sources, **changes):
    """Scan, download, and return (the entries of scan, the index by name)."""
    params = params_for(*sources, **changes)
    scan.run(root, params)
    download.run(root, params)
    entries = json.loads((root / scan.TARGET).read_text())
    return entries, read_table(root / "data/raw/index.parquet", INDEX).set_index("name")


def contents(root, index):
    return {
        name: read_member(root / "data/raw", Location(row.shard, int(row.offset), int(row["size"])))
        for name, row in index[index["status"] == "kept"].iterrows()
    }


def lines(table):
    return "\n".join(table) + "\n"


# --- archives ---

ARCHIVE = {"kind": "archive", "path": "photos.bin"}


@pytest.mark.parametrize("kind", [*PACKERS, "zip"])
def test_an_archive_becomes_records(tmp_path, kind):
    content = zip_of(PICTURES) if kind == "zip" else PACKERS[kind](tar_of(PICTURES))
    (tmp_path / "photos.bin").write_bytes(content)
    source = {**ARCHIVE, "label_from": "parent", "split_from": "grandparent"}
    entries, index = run(tmp_path, source)
    assert entries["photos.bin"]["kind"] == "archive"
    assert contents(tmp_path, index) == dict(PICTURES)
    assert set(index["uri"]) == {f"photos.bin/{name}" for name, _ in PICTURES}
    assert (set(index["label"]), set(index["official_split"])) == ({"cat"}, {"train"})
    assert not (tmp_path / ".darkroom/remote").exists()


def test_an_archive_is_read_once_and_then_only_for_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "photos.bin").write_bytes(PACKERS["tar.xz"](tar_of(PICTURES)))
    passes = []
    real = formats.read_members
    monkeypatch.setattr(formats, "read_members", lambda *a: passes.append(a) or real(*a))
    _, before = run(tmp_path, ARCHIVE)
    _, after = run(tmp_path, {**ARCHIVE, "label_from": "parent"})
    assert len(passes) == 1
    assert set(after["label"]) == {"cat"}
    (tmp_path / "data/raw/00000.tar").unlink()
    _, again = run(tmp_path, ARCHIVE)
    assert len(passes) == 2
    pd.testing.assert_frame_equal(again, before)


@pytest.mark.parametrize("where", ["labels.csv", "beside/labels.csv", "inside"])
@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_a_label_table_may_lie_below_the_repository_beside_or_inside(tmp_path, where, kind):
    table = lines(["name,label", *(f"{number},kind {number}" for number in range(4))]).encode()
    members = [*PICTURES, ("labels.csv", table)] if where == "inside" else PICTURES
    (tmp_path / "beside").mkdir()
    if where != "inside":
        (tmp_path / where).write_bytes(table)
    content = zip_of(members) if kind == "zip" else PACKERS[kind](tar_of(members))
    (tmp_path / "beside/photos.bin").write_bytes(content)
    source = {"kind": "archive", "path": "beside/photos.bin", "labels": "labels.csv"}
    for _ in range(2):
        _, index = run(tmp_path, source)
        assert list(index["label"]) == [f"kind {number}" for number in range(4)]


def test_each_refused_member_is_a_row(tmp_path):
    content = tar_of([
        ("../up.png", b"x"), (special("link.png", tarfile.SYMTYPE, "/etc/passwd"), None),
        *PICTURES, ("train/cat/0.png", b"other"), ("long.png", bytes(300)),
    ])  # fmt: skip
    end = content.index(b"long.png") + 1024  # without the blocks that end a tar
    (tmp_path / "photos.bin").write_bytes(gzip.compress(content[:end]))
    _, index = run(tmp_path, ARCHIVE, max_file_bytes=250)
    assert dict(index.loc[index["status"] == "failed", "reason"]) == {
        "../up.png": "escapes", "link.png": "link", "train/cat/0.png~2": "duplicate_name",
        "long.png": "too_large", "photos.bin": "truncated",
    }  # fmt: skip
    assert contents(tmp_path, index) == dict(PICTURES)
    assert not (tmp_path.parent / "up.png").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "something else"), (b"words " * 200, "expected a zip or a tar"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "a 7z archive: unpack it"),
        (b"Rar!\x1a\x07" + bytes(600), "a RAR archive: unpack it"),
        (picture(1) * 9, "expected a zip or a tar"), (gzip.compress(b"one file"), "something else"),
        (zip_of(PICTURES)[:-30], "table of contents, which is at its end, cannot be read"),
        (gzip.compress(b"x")[:12], "is truncated from its start"),
        (b"\x1f\x8b" + b"\xff" * 900, "is corrupt from its start"),
    ],
    ids=["empty", "text", "7z", "rar", "image", "gzip of a file", "zip without end",
         "gzip without content", "gzip of rubbish"],
)  # fmt: skip
def test_what_is_no_archive_stops_before_any_work(tmp_path, content, message):
    (tmp_path / "photos.bin").write_bytes(content)
    with pytest.raises(UserError, match=message):
        run(tmp_path, ARCHIVE)
    assert not (tmp_path / "data/raw").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**ARCHIVE, "path": "missing.zip"}, "there is no file"),
        ({**ARCHIVE, "path": "data"}, "is a folder; expected a file"),
        ({**ARCHIVE, "labels": "no.csv"}, r"no\.csv is not there; tried .* and photos\.bin itself"),
        ({**ARCHIVE, "labels": "../../no.csv"}, "is not there"),
        ({**ARCHIVE, "labels": "wrong.csv"}, "none of its 1 names is a file of the source"),
    ],
    ids=["missing", "folder", "no table", "table outside", "other names"],
)
def test_a_wrong_archive_source_is_explained(tmp_path, source, message):
    (tmp_path / "photos.bin").write_bytes(gzip.compress(tar_of(PICTURES)))
    (tmp_path / "wrong.csv").write_text("name,label\nz.jpg,x\n")
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match=message):
        run(tmp_path, source)
    assert not (tmp_path / "data/raw").exists()


def test_an_archive_that_grew_adds_its_new_members_and_an_absent_one_stays(tmp_path, caplog):
    (tmp_path / "photos.bin").write_bytes(tar_of(PICTURES[:2]))
    first, before = run(tmp_path, ARCHIVE)
    (tmp_path / "photos.bin").write_bytes(tar_of(PICTURES))
    second, after = run(tmp_path, ARCHIVE)
    assert first != second
    pd.testing.assert_frame_equal(after.head(2), before)
    assert set(after["shard"]) == {"00000.tar", "00001.tar"}
    (tmp_path / "photos.bin").unlink()
    with caplog.at_level(logging.WARNING):
        third, stays = run(tmp_path, ARCHIVE)
    assert third == second
    pd.testing.assert_frame_equal(stays, after)
    assert "photos.bin is not on this machine" in caplog.text


KILLED = """
import os, sys
from pathlib import Path
from stages import download
from darkroom.core import shards
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params

shards.MAX_IMAGES = 4
left = int(sys.argv[1])
replace = Path.replace

def replace_until(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return replace(self, target)

Path.replace = replace_until
download.run(Path.cwd(), load_params(Path.cwd(), Params))
"""


@pytest.mark.parametrize("survives", [0, 2, 4, 6])
def test_killed_anywhere_and_run_again_gives_the_same_bytes(tmp_path, monkeypatch, survives):
    monkeypatch.setattr(shards, "MAX_IMAGES", 4)
    many = [(f"{number:02d}.png", picture(number)) for number in range(16)]
    wds = {"kind": "webdataset", "path": "s/{0..1}.tar"}
    for root in (tmp_path / "killed", tmp_path / "undisturbed"):
        (root / "s").mkdir(parents=True)
        (root / "photos.bin").write_bytes(gzip.compress(tar_of(many)))
        for number in range(2):
            members = [(f"{n}.png", picture(n + 100 * (number + 1))) for n in range(6)]
            (root / f"s/{number}.tar").write_bytes(tar_of(members))
        params = params_for(ARCHIVE, wds).model_dump(mode="json")
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        if root.name == "killed":
            process = subprocess.run(
                [sys.executable, "-c", KILLED, str(survives)], cwd=root, check=False,
                env=tool_environment(),
            )  # fmt: skip
            assert process.returncode == -signal.SIGKILL
        run(root, ARCHIVE, wds)
    found = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "data/raw").iterdir()}
        for name in ("killed", "undisturbed")
    ]
    assert found[0] == found[1]


# --- WebDataset ---


def sample(key, number, **side):
    return [(f"{key}.png", picture(number)), *((f"{key}.{k}", v) for k, v in side.items())]


def write_shards(root, *samples):
    (root / "shards").mkdir(exist_ok=True)
    for number, members in enumerate(samples):
        (root / f"shards/{number:05d}.tar").write_bytes(tar_of(members))


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


# --- folders ---


def test_links_are_followed_outside_if_asked_for_and_loops_survive(tmp_path, caplog):
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/a.png").write_bytes(picture(1))
    (tmp_path / "single.png").write_bytes(picture(2))
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    (photos / "own.png").write_bytes(picture(3))
    (photos / "there").symlink_to(outside)
    (photos / "single.png").symlink_to(tmp_path / "single.png")
    (photos / "sub/loop").symlink_to(photos)
    (outside / "back").symlink_to(photos)
    (photos / "broken").symlink_to(tmp_path / "nothing")
    with caplog.at_level(logging.WARNING):
        _, index = run(tmp_path, {"kind": "folder", "path": "photos"})
    assert list(index.index) == ["own.png"]
    assert "follow_links: true" in caplog.text
    _, index = run(tmp_path, {"kind": "folder", "path": "photos", "follow_links": True})
    kept = index[index["status"] == "kept"]
    assert {"own.png", "single.png", "there/deep/a.png"} <= set(kept.index)
    assert set(kept["key"]) == {key_of(picture(number)) for number in (1, 2, 3)}


STRANGE = ["e\u0301.png", "é.png", "حصان.png", "🐎.png", "a\nb.png", "a\tb.png", " .png", "%s.png"]


def test_any_name_arrives_with_its_label(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate(STRANGE):
        (photos / name).write_bytes(picture(number))
    (photos / os.fsdecode(b"\xff.png")).write_bytes(picture(100))
    (photos / "\\xff.png").write_bytes(picture(101))
    rows = [{"image_id": name, "label": [number, 1]} for number, name in enumerate(STRANGE)]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    for _ in range(2):
        _, index = run(tmp_path, {"kind": "folder", "path": "photos", "labels": "labels.json"})
        assert set(index.index) == {*STRANGE, "\\xff.png", "\\xff.png~2"}
        assert [list(index.loc[name, "ratings"]) for name in STRANGE] == [
            [number, 1] for number in range(len(STRANGE))
        ]


def test_names_match_in_either_form_of_unicode(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/e\u0301.png").write_bytes(picture(1))
    (tmp_path / "labels.csv").write_text("name,label\né,accent\n", encoding="utf-8")
    _, index = run(tmp_path, {"kind": "folder", "path": "photos", "labels": "labels.csv"})
    assert list(index["label"]) == ["accent"]


def test_an_ava_user_names_the_folder_and_the_file(tmp_path):
    (tmp_path / "images").mkdir()
    for number in (953619, 953958):
        (tmp_path / f"images/{number}.jpg").write_bytes(picture(number % 256))
    (tmp_path / "AVA.txt").write_text(
        "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n"
        "2 953958 10 7 15 26 26 21 10 8 1 2 15 21 1396\n"
        "3 1 0 0 0 0 0 0 0 0 0 1 1 22 1396\n"
    )
    _, index = run(tmp_path, {"kind": "folder", "path": "images", "labels": "AVA.txt"})
    assert list(index.loc["953619.jpg", "ratings"]) == [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]


# --- remote ---


@pytest.fixture
def bucket(monkeypatch):
    """A remote store in memory, through the same code as any driver's."""
    monkeypatch.setitem(remote_files.DRIVERS, "memory", "memory")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


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


class Files(BaseHTTPRequestHandler):
    """A server of files with ranges, which breaks connections off if it is told to."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        name = self.path.partition("?")[0]
        self.server.seen.append((self.command, self.path, self.headers.get("Range")))
        if name == "/moved.zip":
            return self.say(302, b"", {"Location": "/photos.zip"})
        if name == "/away.zip":
            return self.say(302, b"", {"Location": "http://10.0.0.1/photos.zip"})
        if name == "/noai.zip":
            return self.say(200, b"", {"X-Robots-Tag": "noai"}, body)
        if name == "/later.zip":
            return self.say(503, b"", {"Retry-After": "3600"}, body)
        content = self.server.files.get(name)
        if content is None:
            return self.say(404, b"not here", body=body)
        if not body and name.startswith("/nohead"):
            return self.say(405, b"")
        headers = {"ETag": self.server.tag or f'"{key_of(content)}"'}
        wanted = self.headers.get("Range")
        status = 200
        if wanted and body:
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            last = int(end) if end else len(content) - 1
            headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
            status, content = 206, content[int(start) : last + 1]
        return self.say(status, content, headers, body)

    def say(self, status, content, headers=None, body=True):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and len(content) > 200 and self.server.breaks:
            self.server.breaks -= 1
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            self.connection.close()
        elif body:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.seen, server.files, server.breaks, server.tag = [], {}, 0, None
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["photos.zip", "moved.zip", "nohead.zip"])
def test_an_archive_comes_over_http_without_its_secrets(tmp_path, server, name, caplog):
    server.files["/photos.zip"] = server.files["/nohead.zip"] = zip_of(PICTURES)
    host = server.url.removeprefix("http://")
    source = {"kind": "archive", "path": f"http://me:secret@{host}/{name}?token=hidden"}
    with caplog.at_level(logging.DEBUG):
        entries, index = run(tmp_path, source)
    assert contents(tmp_path, index) == dict(PICTURES)
    assert list(entries) == [f"{server.url}/{name}"]
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everywhere = written.decode("latin-1") + caplog.text + index.reset_index().to_csv()
    assert "secret" not in everywhere
    assert "hidden" not in everywhere
    fetched = [request for request in server.seen if request[0] == "GET" and request[2] is None]
    run(tmp_path, source)
    again = [request for request in server.seen if request[0] == "GET" and request[2] is None]
    assert len(again) == len(fetched)


def test_a_broken_transfer_goes_on_where_it_stopped(tmp_path, server):
    server.files["/photos.zip"] = content = zip_of(
        [(f"{n}.bin", os.urandom(900)) for n in range(9)]
    )
    server.breaks = 3
    _, index = run(tmp_path, {"kind": "archive", "path": f"{server.url}/photos.zip"})
    assert len(contents(tmp_path, index)) == 9
    ranges = [wanted for method, _, wanted in server.seen if method == "GET"]
    assert ranges[0] is None
    assert f"bytes={len(content) // 2}-" in ranges


def test_a_body_without_a_strong_version_begins_anew(tmp_path, server):
    server.tag = 'W/"one"'
    server.files["/photos.zip"] = zip_of([(f"{n}.bin", os.urandom(900)) for n in range(9)])
    server.breaks = 1
    _, index = run(tmp_path, {"kind": "archive", "path": f"{server.url}/photos.zip"})
    assert len(contents(tmp_path, index)) == 9
    assert {wanted for method, _, wanted in server.seen if method == "GET"} == {None}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.zip", "http_404"), ("away.zip", "private_address"), ("noai.zip", "robots_tag"),
        ("later.zip", "http_503"),  # an hour is longer than we wait
    ],
)  # fmt: skip
def test_an_archive_that_http_refuses_is_explained(tmp_path, server, name, reason, monkeypatch):
    if name == "away.zip":
        from darkroom.sources.http import addresses

        real = addresses.is_public
        monkeypatch.setattr(addresses, "is_public", lambda host: host == "127.0.0.1" or real(host))
    source = {"kind": "archive", "path": f"{server.url}/{name}"}
    with pytest.raises(UserError, match=f"{name} cannot be reached: {reason}"):
        run(tmp_path, source, allow_private_hosts=name != "away.zip", retries=5)


def test_a_folder_over_http_is_explained(tmp_path):
    with pytest.raises(UserError, match="a folder cannot be listed over http; use kind: list"):
        run(tmp_path, {"kind": "folder", "path": "https://example.org/photos/"})


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


def test_a_list_may_be_parquet(tmp_path, server):
    server.files = {"/a.png": picture(1)}
    pd.DataFrame({"url": [f"{server.url}/a.png"], "label": ["x"]}).to_parquet(tmp_path / "list")
    _, index = run(tmp_path, {"kind": "list", "path": "list"})
    assert list(index["label"]) == ["x"]


def test_every_reason_is_explained():
    import re

    from darkroom.sources.failure_reasons import REASONS

    code = "".join(path.read_text() for path in (REPOSITORY / "darkroom/sources").rglob("*.py"))
    raised = re.findall(r"(?:Unreadable|Transient|BrokenArchive|_Broke)\(\"(\w+)\"\)", code)
    returned = re.findall(r"refused\([^()]*, \"(\w+)\"\)", code)
    assert {*raised, *returned} <= set(REASONS)


# --- together ---


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
