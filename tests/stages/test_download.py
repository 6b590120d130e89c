"""Download: shards and an index from folders, lists and the sample; again, later, interrupted."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core import shards
from darkroom.core.errors import UserError
from darkroom.core.shards import Location, key_of, read_member
from darkroom.sources.sample import generate
from darkroom.sources.store.raw_store import forget_failures
from stages import download
from tests.harness import (
    dvc_here,
    make_repository,
    not_root,
    read_tar,
    run_command,
    tool_environment,
)
from tests.sources.harness import LIST, download_now, raw_files, values_for, write_list
from tests.sources.hostile_server import ANSWERS, Hostile, body_of, serving

FOLDER = {"kind": "folder", "path": "photos"}


def write(root, **files):
    for name, content in files.items():
        path = root / "photos" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def contents(root, index):
    return {
        name: read_member(root / "data/raw", Location(row.shard, int(row.offset), int(row["size"])))
        for name, row in index[index["key"].notna()].iterrows()
    }


# --- folders ---


def test_a_folder_becomes_shards_and_an_index(tmp_path):
    write(tmp_path, a_jpg=b"\xff\xd8\xffone", sub__b_png=b"\x89PNG\r\n\x1a\ntwo", c_txt=b"text")
    index = download_now(tmp_path, FOLDER)
    assert list(index["status"]) == ["kept"] * 3
    assert contents(tmp_path, index)["sub/b.png"] == b"\x89PNG\r\n\x1a\ntwo"
    assert list(index["uri"]) == ["photos/a.jpg", "photos/c.txt", "photos/sub/b.png"]
    members = read_tar(tmp_path / "data/raw/00000.tar")
    assert {Path(name).suffix for name in members} == {".jpg", ".bin", ".png"}
    assert all(key_of(content) == Path(name).stem for name, content in members.items())


def test_equal_bytes_are_stored_once(tmp_path):
    write(tmp_path, a_jpg=b"same", b_jpg=b"same", c_jpg=b"")
    index = download_now(tmp_path, FOLDER)
    assert index.loc["a.jpg", "offset"] == index.loc["b.jpg", "offset"]
    assert len(read_tar(tmp_path / "data/raw/00000.tar")) == 2
    metrics = json.loads((tmp_path / "metrics/download.json").read_text())
    assert metrics == {
        "records": 3, "kept": 3, "failed": 0, "withdrawn": 0, "keys": 2, "exact_duplicates": 1,
        "shards": 1, "failed_by_reason": {},
    }  # fmt: skip


def test_new_files_go_to_a_new_shard_and_old_ones_keep_their_place(tmp_path):
    write(tmp_path, b_jpg=b"b", c_jpg=b"c")
    before = download_now(tmp_path, FOLDER)
    old = (tmp_path / "data/raw/00000.tar").stat()
    write(tmp_path, a_jpg=b"a")
    after = download_now(tmp_path, FOLDER)
    now = (tmp_path / "data/raw/00000.tar").stat()
    assert (old.st_ino, old.st_mtime_ns) == (now.st_ino, now.st_mtime_ns)
    assert after.loc["a.jpg", "shard"] == "00001.tar"
    pd.testing.assert_frame_equal(after.drop("a.jpg"), before)


def test_what_is_taken_away_is_withdrawn_and_may_return(tmp_path):
    write(tmp_path, a_jpg=b"a", b_jpg=b"b")
    before = download_now(tmp_path, FOLDER)
    (tmp_path / "photos/a.jpg").unlink()
    gone = download_now(tmp_path, FOLDER)
    assert tuple(gone.loc["a.jpg", ["status", "reason"]]) == ("withdrawn", "gone")
    assert contents(tmp_path, gone) == contents(tmp_path, before)
    write(tmp_path, a_jpg=b"a")
    pd.testing.assert_frame_equal(download_now(tmp_path, FOLDER), before)


def test_changed_content_leaves_a_withdrawn_row_beside_the_new_one(tmp_path):
    write(tmp_path, a_jpg=b"old", b_jpg=b"b")
    download_now(tmp_path, FOLDER)
    write(tmp_path, a_jpg=b"newer")
    for _ in range(2):
        rows = download_now(tmp_path, FOLDER).loc[["a.jpg"]]
        assert dict(zip(rows["status"], rows["key"], strict=True)) == {
            "kept": key_of(b"newer"), "withdrawn": key_of(b"old"),
        }  # fmt: skip
    write(tmp_path, a_jpg=b"old")
    rows = download_now(tmp_path, FOLDER).loc[["a.jpg"]]
    assert dict(zip(rows["key"], rows["status"], strict=True))[key_of(b"old")] == "kept"
    assert len(raw_files(tmp_path)) == 3  # two shards and the index


def test_a_source_out_of_params_is_withdrawn_and_an_absent_one_stays(tmp_path, caplog):
    write(tmp_path, a_jpg=b"a")
    (tmp_path / "others").mkdir()
    (tmp_path / "others/o.jpg").write_bytes(b"o")
    others = {"kind": "folder", "path": "others"}
    before = download_now(tmp_path, FOLDER, others)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        pd.testing.assert_frame_equal(download_now(tmp_path, FOLDER, others), before)
    assert "photos is not on this machine" in caplog.text
    assert download_now(tmp_path, others).loc["a.jpg", "status"] == "withdrawn"


def test_a_missing_folder_without_records_stops(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        download_now(tmp_path, FOLDER)


def test_a_lost_shard_is_filled_again(tmp_path):
    write(tmp_path, a_jpg=b"a", b_jpg=b"b")
    before = download_now(tmp_path, FOLDER)
    (tmp_path / "data/raw/00000.tar").unlink()
    after = download_now(tmp_path, FOLDER)
    assert contents(tmp_path, after) == {"a.jpg": b"a", "b.jpg": b"b"}
    pd.testing.assert_frame_equal(after, before)


def test_a_file_too_large_is_a_row(tmp_path):
    write(tmp_path, a_jpg=b"a" * 100, b_jpg=b"b", c_jpg=b"c")
    index = download_now(tmp_path, FOLDER, max_file_bytes=50)
    assert tuple(index.loc["a.jpg", ["status", "reason"]]) == ("failed", "too_large")
    assert index["key"].isna().sum() == 1
    metrics = json.loads((tmp_path / "metrics/download.json").read_text())
    assert metrics["failed_by_reason"] == {"too_large": 1}


def test_too_many_failures_stop_with_reasons_and_publish_nothing(tmp_path):
    write(tmp_path, a_jpg=b"a" * 100, b_jpg=b"b" * 100, c_jpg=b"c")
    with pytest.raises(UserError, match=r"2 of 3 images failed.*\n +2  too_large"):
        download_now(tmp_path, FOLDER, max_file_bytes=50)
    assert not (tmp_path / "data/raw/index.parquet").exists()


@pytest.fixture
def open_root():
    """A folder that anybody may enter, unlike pytest's."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o777)
    yield root
    for path in [root, *root.rglob("*")]:
        path.chmod(0o777)
    shutil.rmtree(root)


def test_an_unreadable_file_is_a_row_and_an_unreadable_folder_stops(open_root):
    with not_root():
        write(open_root, a_jpg=b"a", b_jpg=b"b", sub__c_jpg=b"c")
        (open_root / "photos/a.jpg").chmod(0)
        index = download_now(open_root, FOLDER)
        assert tuple(index.loc["a.jpg", ["status", "reason"]]) == ("failed", "permission_denied")
        (open_root / "photos/sub").chmod(0)
        with pytest.raises(UserError, match=r"no permission to read .*photos/sub"):
            download_now(open_root, FOLDER)
        (open_root / "photos").chmod(0)
        with pytest.raises(UserError, match=r"no permission to read .*photos"):
            download_now(open_root, FOLDER)


def test_no_permission_to_write_stops(open_root):
    write(open_root, a_jpg=b"a")
    open_root.chmod(0o555)
    with not_root(), pytest.raises(PermissionError):
        download_now(open_root, FOLDER)


# --- labels ---


def test_labels_and_splits_come_from_folders(tmp_path):
    write(tmp_path, train__cat__1_jpg=b"1", test__dog__2_jpg=b"2", stray_jpg=b"3")
    source = {**FOLDER, "label_from": "parent", "split_from": "grandparent"}
    index = download_now(tmp_path, source)
    found = {name: (row.label, row.official_split) for name, row in index.iterrows()}
    assert found["train/cat/1.jpg"] == ("cat", "train")
    assert found["test/dog/2.jpg"] == ("dog", "test")
    assert all(pd.isna(value) for value in found["stray.jpg"])


def test_a_class_whose_files_all_fail_is_named(tmp_path, caplog):
    write(tmp_path, cat__a_jpg=b"a", cat__b_jpg=b"b", dog__c_jpg=b"c" * 9)
    download_now(tmp_path, {**FOLDER, "label_from": "parent"}, max_file_bytes=5)
    assert "download: 1 of 2 classes lose all their images" in caplog.text
    assert "'dog' (1 too_large)" in caplog.text


def test_labels_come_from_a_table_and_change_without_new_bytes(tmp_path):
    write(tmp_path, a_jpg=b"a", b_jpg=b"b")
    table = tmp_path / "ratings.csv"
    table.write_text("name,rating_1,rating_2,group\na.jpg,1,4,g\n")
    source = {**FOLDER, "labels": "ratings.csv"}
    index = download_now(tmp_path, source)
    assert list(index.loc["a.jpg", "ratings"]) == [1, 4]
    assert index.loc["a.jpg", "source_group"] == "g"
    assert index.loc["b.jpg", "ratings"] is None
    assert index["mean"].isna().all()
    shard = (tmp_path / "data/raw/00000.tar").stat().st_mtime_ns
    table.write_text("name,mean,std\na.jpg,3.5,0.5\n")
    index = download_now(tmp_path, source)
    assert tuple(index.loc["a.jpg", ["mean", "std"]]) == (3.5, 0.5)
    assert index.loc["a.jpg", "ratings"] is None
    assert (tmp_path / "data/raw/00000.tar").stat().st_mtime_ns == shard


@pytest.mark.parametrize(
    ("table", "message"),
    [("name,label\nz.jpg,x\n", "none of its 1 names"), ("name,note\na.jpg,x\n", "expected a col")],
    ids=["unknown names", "nothing to say"],
)
def test_a_wrong_label_table_stops_before_any_work(tmp_path, table, message):
    write(tmp_path, a_jpg=b"a")
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(UserError, match=message):
        download_now(tmp_path, {**FOLDER, "labels": "labels.csv"})
    assert not (tmp_path / "data/raw").exists()


# --- lists ---


@pytest.fixture
def server():
    with serving() as server:
        yield server


LOCAL = {"allow_private_hosts": True, "timeout_s": 60, "max_failed_fraction": 1.0}


# --- the sample, and repetition ---


def test_the_sample_comes_whole_twice_the_same(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    index = download_now(one, {"kind": "sample"})
    download_now(two, {"kind": "sample"})
    assert raw_files(one) == raw_files(two)
    before = raw_files(one)
    download_now(one, {"kind": "sample"})
    assert raw_files(one) == before
    assert contents(one, index) == {file.name: file.content for file in generate.files()}
    assert not (one / ".darkroom/download").exists()


@settings(max_examples=8)
@given(
    steps=st.lists(
        st.dictionaries(st.sampled_from("abcde"), st.binary(max_size=3), min_size=1), min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_incremental_equals_from_scratch(steps):
    """For kept records, keys and bytes; only the shard that they lie in may differ."""
    with tempfile.TemporaryDirectory() as folder:
        root, fresh = Path(folder) / "root", Path(folder) / "fresh"
        for files in steps:
            shutil.rmtree(root / "photos", ignore_errors=True)
            write(root, **files)
            index = download_now(root, FOLDER)
        shutil.copytree(root / "photos", fresh / "photos")
        scratch = download_now(fresh, FOLDER)
        kept = index[index["status"] == "kept"]
        assert contents(root, kept) == contents(fresh, scratch)
        assert list(kept["key"]) == list(scratch["key"])
        everything = shards.stored(index.reset_index())
        members = {
            Path(name).stem for path in (root / "data/raw").glob("*.tar") for name in read_tar(path)
        }
        assert set(everything["key"]) == members


KILLED = """
import os, sys
from pathlib import Path
from stages import download
from darkroom.core import shards
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params

shards.MAX_IMAGES = 4
left, here = int(sys.argv[1]), os.getcwd()
CHANGES = ("os.rename", "os.remove", "os.link", "os.mkdir", "shutil.rmtree")

def count(event, arguments):  # of Python's own: it tells of every file that is opened or moved
    global left
    opened = event == "open" and os.path.abspath(os.fsdecode(arguments[0])).startswith(here)
    if opened or event in CHANGES:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

params = load_params(Path.cwd(), Params)
sys.addaudithook(count)
download.run(Path.cwd(), params)
"""


def kill_after(root, changes):
    """Run download until so many files were opened or moved; return whether it was killed."""
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(changes)], cwd=root,
        env=tool_environment(), check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode in {0, -signal.SIGKILL}, process.stderr
    return process.returncode != 0


def two_sources(root, server):
    """Three files and some URLs: good, failing, broken off, repeated, forwarded."""
    write(root, a_jpg=b"a", b_jpg=b"b", c_jpg=b"c")
    for path in (root / "photos").iterdir():
        os.utime(path, ns=(10**18, 10**18))  # long ago: so the cache of hashes is written
    urls = [f"{server.url}/{path}" for path in (*range(6), "gone", "break", 3, "moved", *"789")]
    write_list(root, *urls)
    (root / "params.yaml").write_text(yaml.safe_dump(values_for(FOLDER, LIST, **LOCAL)))


@pytest.mark.parametrize("survives", [0, 30, 50, 65, 80])
def test_killed_anywhere_and_run_again_gives_the_same_bytes(
    tmp_path, server, monkeypatch, survives
):
    """Killed before a file is opened, moved or removed, so often; the number of steps varies."""
    monkeypatch.setattr(shards, "MAX_IMAGES", 4)
    roots = [tmp_path / "undisturbed", tmp_path / "killed"]
    for root in roots:
        two_sources(root, server)
    kill_after(roots[1], survives)
    for root in roots:
        server.seen.clear()
        download_now(root, FOLDER, LIST, **LOCAL)
    assert raw_files(roots[0]) == raw_files(roots[1])
    assert (roots[0] / download.METRICS).read_bytes() == (roots[1] / download.METRICS).read_bytes()
    assert not (roots[1] / download.SCRATCH).exists()


# --- limits, checksums, retry ---


def test_the_limit_in_all_leaves_out_what_comes_later_and_says_so(tmp_path, server, caplog):
    urls = [f"{server.url}/{number}" for number in range(20)]  # of 3,000 bytes each
    write_list(tmp_path, *urls)
    changes = LOCAL | {"max_failed_fraction": 0.1}  # what stays out is no failure of the source
    with caplog.at_level(logging.WARNING):
        index = download_now(tmp_path, LIST, **changes, max_total_bytes=10_000)
    assert list(index.loc[urls, "status"]) == ["kept"] * 3 + ["failed"] * 17
    assert set(index.loc[urls[3:], "reason"]) == {"total_limit"}
    assert "17 total_limit: download.max_total_bytes was reached before; raise it" in caplog.text
    forget_failures(tmp_path)
    index = download_now(tmp_path, LIST, **changes, max_total_bytes=30_000)
    assert list(index.loc[urls, "status"]) == ["kept"] * 10 + ["failed"] * 10
    write(tmp_path, a_jpg=b"a" * 100)
    index = download_now(tmp_path, FOLDER, LIST, **changes, max_total_bytes=30_000)
    assert index.loc["a.jpg", "reason"] == "total_limit"


def test_retry_without_anything_to_do_changes_nothing(tmp_path):
    forget_failures(tmp_path)
    write(tmp_path, a_jpg=b"a")
    download_now(tmp_path, FOLDER)
    before = (tmp_path / "data/raw/index.parquet").stat()
    forget_failures(tmp_path)
    after = (tmp_path / "data/raw/index.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_list_that_changed_after_a_kill_leaves_nothing_that_no_record_names(
    tmp_path, server, monkeypatch
):
    monkeypatch.setattr(shards, "MAX_IMAGES", 4)
    two_sources(tmp_path, server)

    class Killed(BaseException):
        pass

    def die(self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(download.RawStore, "finish", die)
        with pytest.raises(Killed):
            download_now(tmp_path, FOLDER, LIST, **LOCAL)
    assert len(list((tmp_path / download.SCRATCH / "shards").glob("*.tar"))) == 3
    write_list(tmp_path, f"{server.url}/1", f"{server.url}/100")
    server.seen.clear()
    index = download_now(tmp_path, LIST, **LOCAL)
    assert server.seen == {"/100": 1}
    assert contents(tmp_path, index) == {
        f"{server.url}/{n}": body_of(f"/{n}") for n in (1, 100)
    }  # fmt: skip
    members = [n for path in (tmp_path / "data/raw").glob("*.tar") for n in read_tar(path)]
    assert sorted(Path(name).stem for name in members) == sorted(index["key"])


def test_dvc_sees_a_retry_and_runs_nothing_else_for_it(tmp_path, server, monkeypatch):
    write_list(tmp_path, *(server.url + path for path in ("/1", "/2", "/gone", "/broken")))
    source = {"kind": "list", "path": str(tmp_path / "urls.csv")}
    repository = make_repository(tmp_path / "repository", source)
    monkeypatch.chdir(repository)
    command = ("repro", "download")
    assert dvc_here(repository, *command) == ["scan", "download"]
    assert dvc_here(repository, *command) == ["scan"]
    lock = (repository / "dvc.lock").read_text()
    server.seen.clear()
    assert run_command("retry") == 0
    assert dvc_here(repository, *command) == ["scan", "download"]
    assert server.seen == {"/gone": 1, "/broken": 1}
    assert (repository / "dvc.lock").read_text() == lock  # so that later stages are up to date
    monkeypatch.setitem(ANSWERS, "/broken", Hostile.good)
    assert dvc_here(repository, *command) == ["scan"]
    assert run_command("retry") == 0
    assert dvc_here(repository, *command) == ["scan", "download"]
    assert (repository / "dvc.lock").read_text() != lock
