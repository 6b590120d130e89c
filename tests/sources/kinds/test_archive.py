"""Archives as sources: read once, with label tables, grown, killed and run again."""

import gzip
import logging
import signal
import subprocess
import sys
import tarfile

import pandas as pd
import pytest
import yaml

from darkroom.core import shards
from darkroom.core.errors import UserError
from darkroom.sources.archives import formats
from tests.harness import tool_environment
from tests.sources.harness import (
    PICTURES,
    contents,
    lines,
    params_for,
    picture,
    run,
)
from tests.sources.make_archives import PACKERS, special, tar_of, zip_of

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
