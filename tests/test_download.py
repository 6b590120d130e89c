"""Download: shards and an index from folders, lists and the sample; again, later, interrupted."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import download
from stages.lib import shards
from stages.lib.failures import UserError
from stages.lib.params import check_params
from stages.lib.shards import Place, key_of, read_member, read_tar
from stages.lib.tables import INDEX, read_table
from stages.sources import sample
from stages.sources.purged import write_purged

REPOSITORY = Path(__file__).parents[1]
FOLDER = {"kind": "folder", "path": "photos"}
LIST = {"kind": "list", "path": "urls.csv"}


def values_for(*sources, **changes):
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["download"] |= {"sources": list(sources), "retries": 1, **changes}
    return values


def download_now(root, *sources, **changes):
    download.run(root, check_params(values_for(*sources, **changes)))
    return read_table(root / "data/raw/index.parquet", INDEX).set_index("name")


def write(root, **files):
    for name, content in files.items():
        path = root / "photos" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def contents(root, index):
    return {
        name: read_member(root / "data/raw", Place(row.shard, int(row.offset), int(row["size"])))
        for name, row in index[index["key"].notna()].iterrows()
    }


def raw_files(root):
    return {path.name: path.read_bytes() for path in (root / "data/raw").iterdir()}


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


@contextlib.contextmanager
def not_root():
    """Work as nobody, since root may read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


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


class Pictures(BaseHTTPRequestHandler):
    """A server with every kind of trouble; counts the requests by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.seen[path] += 1
        if path.startswith("/flaky") and self.server.seen[path] == 1:
            self.answer(500, b"", {"Retry-After": "0"})
        elif path == "/later" and self.server.seen[path] == 1:
            self.server.refused_at = time.monotonic()
            self.answer(429, b"", {"Retry-After": "1"})
        elif path == "/later":
            self.server.came_back_after = time.monotonic() - self.server.refused_at
            self.answer(200, b"later")
        elif path == "/gone":
            self.answer(404, b"<html>not here</html>")
        elif path == "/broken":
            self.answer(503, b"")
        elif path == "/html":
            self.answer(200, b"<html>an error in disguise</html>")
        elif path == "/short":
            self.answer(200, b"half", {"Content-Length": "8"}, close=True)
        elif path == "/reset":
            self.close_connection = True
            self.connection.close()
        elif path == "/stall":
            self.server.done.wait(5)
            self.close_connection = True
        elif path == "/large":
            self.answer(200, b"x" * 1000)
        elif path == "/unannounced":
            self.answer(200, b"x" * 1000, {"Content-Length": None}, close=True)
        elif path == "/moved":
            self.answer(302, b"", {"Location": "/image/moved"})
        elif path == "/circle":
            self.answer(302, b"", {"Location": "/circle"})
        elif path == "/elsewhere":
            self.answer(302, b"", {"Location": "file:///etc/passwd"})
        else:
            self.answer(200, b"bytes of " + path.encode())

    def answer(self, status, body, headers=None, close=False):
        self.send_response(status)
        sent = {"Content-Length": str(len(body)), **(headers or {})}
        for name, value in sent.items():
            if value is not None:
                self.send_header(name, value)
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

    def handle(self):
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        server.daemon_threads = True
        server.block_on_close = False
        server.seen, server.done = Counter(), threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.done.set()
        server.shutdown()
        thread.join()


def write_list(root, *urls, path="urls.csv"):
    header = "url\n" if path.endswith(".csv") else "# pictures\n\n"
    (root / path).write_text(header + "".join(f"{url}\n" for url in urls))


LOCAL = {"allow_private_hosts": True, "timeout_s": 0.5, "max_failed_fraction": 1.0}


@pytest.mark.parametrize(
    ("path", "reason", "requests"),
    [
        ("/image", None, 1), ("/flaky", None, 2), ("/later", None, 2), ("/moved", None, 1),
        ("/html", None, 1), ("/gone", "http_404", 1), ("/broken", "http_503", 2),
        ("/short", "incomplete", 2), ("/reset", "connection_failed", None),
        ("/stall", "timeout", 2), ("/large", "too_large", 1), ("/unannounced", "too_large", 1),
        ("/circle", "too_many_redirects", 6), ("/elsewhere", "bad_url", 1),
    ],
)  # fmt: skip
def test_each_url_ends_as_a_row(tmp_path, server, path, reason, requests):
    write_list(tmp_path, server.url + path)
    index = download_now(tmp_path, LIST, **LOCAL, max_file_bytes=500)
    row = index.loc[server.url + path]
    assert row["status"] == ("kept" if reason is None else "failed")
    assert (row["reason"] if isinstance(row["reason"], str) else None) == reason
    if requests is not None:  # on a reset aiohttp itself tries a reused connection again
        assert server.seen[path] == requests
    if path == "/later":
        assert server.came_back_after >= 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/", "private_address"), ("http://localhost:9/", "private_address"),
        ("http://[::1]:9/x.jpg", "private_address"), ("http://10.0.0.1/x.jpg", "private_address"),
        ("http://[::ffff:127.0.0.1]:9/", "private_address"), ("http://2130706433/", None),
        ("ftp://example.org/x.jpg", "bad_url"), ("file:///etc/passwd", "bad_url"),
        ("http://[::1", "bad_url"), ("not a url", "bad_url"),
    ],
)  # fmt: skip
def test_private_addresses_and_other_schemes_are_refused(tmp_path, url, reason):
    write_list(tmp_path, url, path="urls.txt")
    changes = {"max_failed_fraction": 1.0, "retries": 0, "timeout_s": 2}
    index = download_now(tmp_path, {**LIST, "path": "urls.txt"}, **changes)
    assert index["status"].iloc[0] == "failed"
    assert reason is None or index["reason"].iloc[0] == reason


def test_a_redirect_to_a_private_address_is_refused(tmp_path, server, monkeypatch):
    from stages.sources import fetch

    real = fetch.is_public
    monkeypatch.setattr(fetch, "is_public", lambda host: host == "127.0.0.1" or real(host))
    write_list(tmp_path, server.url + "/hop")
    original = Pictures.do_GET

    def hop(self):
        if self.path == "/hop":
            self.answer(302, b"", {"Location": "http://169.254.169.254/latest"})
        else:
            original(self)

    monkeypatch.setattr(Pictures, "do_GET", hop)
    index = download_now(tmp_path, LIST, max_failed_fraction=1.0)
    assert index["reason"].iloc[0] == "private_address"


def test_a_dead_host_is_given_up_and_costs_only_its_own_rows(tmp_path, server):
    dead = [f"http://127.0.0.1:9/{number}.jpg" for number in range(40)]
    write_list(tmp_path, *dead, server.url + "/image")
    index = download_now(tmp_path, LIST, **LOCAL | {"retries": 0})
    assert index.loc[server.url + "/image", "status"] == "kept"
    assert list(index.loc[dead, "reason"]) == ["connection_failed"] * 40


def test_only_dead_hosts_stop_the_stage(tmp_path):
    write_list(tmp_path, "http://127.0.0.1:9/1.jpg")
    with pytest.raises(UserError, match=r"1 of 1 images failed.*\n +1  connection_failed"):
        download_now(tmp_path, LIST, allow_private_hosts=True)


def test_what_was_fetched_is_not_fetched_again_and_what_failed_is(tmp_path, server):
    write_list(tmp_path, server.url + "/image", server.url + "/gone")
    download_now(tmp_path, LIST, **LOCAL)
    write_list(tmp_path, server.url + "/image", server.url + "/gone", server.url + "/new")
    index = download_now(tmp_path, LIST, **LOCAL)
    assert server.seen == {"/image": 1, "/gone": 2, "/new": 1}
    assert index.loc[server.url + "/new", "shard"] == "00001.tar"
    write_list(tmp_path, server.url + "/image")
    index = download_now(tmp_path, LIST, **LOCAL)
    assert server.seen["/image"] == 1
    assert dict(index["status"].value_counts()) == {"withdrawn": 2, "kept": 1}


def test_a_purged_url_is_not_fetched_again(tmp_path, server):
    write_list(tmp_path, server.url + "/image")
    key = download_now(tmp_path, LIST, **LOCAL).loc[server.url + "/image", "key"]
    write_purged(tmp_path / "data/purged.csv", [key])
    for _ in range(2):
        index = download_now(tmp_path, LIST, **LOCAL)
        assert list(index["reason"]) == ["purged"]
        assert index["uri"].isna().all()
    assert server.seen == {"/image": 1}
    assert [path.name for path in (tmp_path / "data/raw").iterdir()] == ["index.parquet"]


def test_bodies_fetched_before_a_stop_are_not_fetched_again(tmp_path, server):
    write_list(tmp_path, server.url + "/image", server.url + "/gone")
    with pytest.raises(UserError, match="images failed"):
        download_now(tmp_path, LIST, **LOCAL | {"max_failed_fraction": 0.1})
    download_now(tmp_path, LIST, **LOCAL)
    assert server.seen == {"/image": 1, "/gone": 2}


def test_a_list_carries_labels_and_no_secrets(tmp_path, server):
    host = server.url.removeprefix("http://")
    (tmp_path / "urls.csv").write_text(
        "label,link,split\n"
        f"cat,http://me:secret@{host}/a?token=hidden,train\n"
        f"dog,{server.url}/a?token=other,test\n"
        f"dog,{server.url}/b,\n"
        f"cat,{server.url}/b,\n"
    )
    index = download_now(tmp_path, {**LIST, "url_column": "link"}, **LOCAL)
    assert list(index["status"]) == ["kept"] * 4
    assert sorted(index["label"]) == ["cat", "cat", "dog", "dog"]
    assert index["key"].nunique() == 2
    assert f"{server.url}/b~2" in index.index
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("data/**/*.parquet"))
    text = index.reset_index().to_csv()
    assert not any(secret in text for secret in ("secret", "hidden", "other"))
    assert b"secret" not in everything


def test_an_empty_list_stops(tmp_path):
    write_list(tmp_path, path="urls.txt")
    with pytest.raises(UserError, match="no URL in"):
        download_now(tmp_path, {**LIST, "path": "urls.txt"})


# --- the sample, and repetition ---


def test_the_sample_comes_whole_twice_the_same(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    index = download_now(one, {"kind": "sample"})
    download_now(two, {"kind": "sample"})
    assert raw_files(one) == raw_files(two)
    before = raw_files(one)
    download_now(one, {"kind": "sample"})
    assert raw_files(one) == before
    assert contents(one, index) == {file.name: file.content for file in sample.files()}
    assert not (one / ".darkroom/download").exists()


@settings(max_examples=8, deadline=None)
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
import os, signal, sys
from pathlib import Path
from stages import download
from stages.lib import files, shards
from stages.lib.params import load_params

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
download.run(Path.cwd(), load_params(Path.cwd()))
"""


@pytest.mark.parametrize("survives", [0, 5, 13, 15, 16])
def test_killed_anywhere_and_run_again_gives_the_same_bytes(
    tmp_path, server, monkeypatch, survives
):
    """Killed before the cache, a body, a shard, the index or the metrics is published."""
    monkeypatch.setattr(shards, "MAX_IMAGES", 4)
    roots = [tmp_path / "undisturbed", tmp_path / "killed"]
    for root in roots:
        write(root, a_jpg=b"a", b_jpg=b"b", c_jpg=b"c")
        for path in (root / "photos").iterdir():
            os.utime(path, ns=(10**18, 10**18))  # long ago: so the cache of hashes is written
        write_list(root, *(f"{server.url}/{number}" for number in range(10)))
        values = values_for(FOLDER, LIST, **LOCAL)
        (root / "params.yaml").write_text(yaml.safe_dump(values))
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(survives)], cwd=roots[1],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    for root in roots:
        download_now(root, FOLDER, LIST, **LOCAL)
    assert raw_files(roots[0]) == raw_files(roots[1])
    assert (roots[0] / download.METRICS).read_bytes() == (roots[1] / download.METRICS).read_bytes()
    if survives > 10:  # every body was there: one request undisturbed, one killed, none after
        assert set(server.seen.values()) == {2}
