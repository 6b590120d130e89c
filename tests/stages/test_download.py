"""Download: shards and an index from folders, lists and the sample; again, later, interrupted."""

import hashlib
import itertools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core import shards
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import Location, key_of, read_member
from darkroom.core.tables import INDEX, read_table
from darkroom.sources.failure_reasons import REASONS
from darkroom.sources.http import response
from darkroom.sources.kinds.dispatch import open_source
from darkroom.sources.sample import generate
from darkroom.sources.store import journal
from darkroom.sources.store.purged import write_purged
from darkroom.sources.store.retry import forget_failures
from stages import download
from tests.harness import (
    call,
    make_repository,
    not_root,
    read_tar,
    read_values,
    repro,
    tool_environment,
)
from tests.sources.hostile_server import ANSWERS, PAGE, Hostile, body_of, serving

FOLDER = {"kind": "folder", "path": "photos"}
LIST = {"kind": "list", "path": "urls.csv"}


def values_for(*sources, **changes):
    values = read_values()
    values["download"] |= {"sources": list(sources), "retries": 1, **changes}
    return values


def download_now(root, *sources, **changes):
    download.run(root, check_params(values_for(*sources, **changes), Params))
    return read_table(root / "data/raw/index.parquet", INDEX).set_index("name")


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


@pytest.fixture
def server():
    with serving() as server:
        yield server


def write_list(root, *urls, path="urls.csv"):
    header = "url\n" if path.endswith(".csv") else "# pictures\n\n"
    (root / path).write_text(header + "".join(f"{url}\n" for url in urls))


LOCAL = {"allow_private_hosts": True, "timeout_s": 60, "max_failed_fraction": 1.0}


INTACT = [
    "/image", "/jpeg-as-html", "/moved", "/flaky", "/slowly", "/chunked", "/gzip", "/identity",
    "/later", "/later-date", "/later-unsaid", "/noai-for-others", "/break", "/break-date",
    "/break-unmarked", "/break-weak", "/break-changed", "/break-416", "/break-lies",
    "/break-total", "/break-etag",
]  # fmt: skip
MAY_PASS = {
    "/broken": "http_503", "/short": "incomplete", "/chunked-cut": "incomplete",
    "/gzip-cut": "incomplete", "/reset": "connection_failed", "/206-unasked": "bad_range",
    "/garbage": "bad_response", "/endless-headers": "bad_response",
}  # fmt: skip
STALLING = dict.fromkeys(["/stall", "/stall-half-way", "/drip-headers"], "timeout")
FINAL = {
    "/gone": "http_404", "/empty-answer": "http_204", "/much-later": "http_429",
    "/large": "too_large", "/unannounced": "too_large", "/gzip-bomb": "too_large",
    "/gzip-not": "bad_encoding", "/gzip-more": "bad_encoding", "/brotli": "unknown_encoding",
    "/elsewhere": "bad_url", "/nowhere": "bad_url", "/noai": "robots_tag",
    "/noindex-too": "robots_tag", "/none-for-us": "robots_tag", "/circle": "too_many_redirects",
}  # fmt: skip


def test_from_a_hostile_server_good_images_arrive_and_the_others_are_rows(tmp_path, server):
    failing = MAY_PASS | FINAL
    good = [*INTACT, "/html-as-jpeg", *(f"/many/{number}" for number in range(100))]
    write_list(tmp_path, *(server.url + path for path in [*INTACT, *failing, *good[-101:]]))
    limits = {"max_file_bytes": 100_000, "retries": 2, "per_host": 32}
    index = download_now(tmp_path, LIST, **LOCAL | limits)
    index.index = index.index.str.removeprefix(server.url)
    assert index.loc[list(failing), "reason"].to_dict() == failing
    expected = {path: body_of(path) for path in good}
    expected["/moved"] = body_of("/image/moved")
    expected["/html-as-jpeg"] = PAGE  # stored; clean says that it is no image
    assert contents(tmp_path, index) == expected
    assert {path: server.seen[path] for path in FINAL} == dict.fromkeys(FINAL, 1) | {"/circle": 6}
    assert server.ranges["/break"] == [None, "bytes=1500-"]
    assert server.ranges["/break-weak"] == [None, None]
    assert not (tmp_path / download.SCRATCH).exists()


def test_a_server_that_never_goes_on_costs_its_own_rows(tmp_path, server):
    """Whatever the machine does, these answers do not end before the client leaves."""
    write_list(tmp_path, *(server.url + path for path in STALLING))
    index = download_now(tmp_path, LIST, **LOCAL | {"timeout_s": 0.2})
    index.index = index.index.str.removeprefix(server.url)
    assert index["reason"].to_dict() == STALLING


def test_a_body_that_drips_is_given_up(tmp_path, server, monkeypatch):
    """Each look at the clock is 100 s after the one before it."""
    clock = itertools.count(0, 100)
    monkeypatch.setattr(response, "monotonic", lambda: float(next(clock)))
    write_list(tmp_path, server.url + "/drip")
    assert list(download_now(tmp_path, LIST, **LOCAL)["reason"]) == ["too_slow"]
    assert server.seen == {"/drip": 2}


def test_what_a_server_sends_too_much_reaches_no_other_image(tmp_path, server):
    paths = [f"/{name}" for name in ("too-much", *range(20), "too-much?again", *range(20, 40))]
    write_list(tmp_path, *(server.url + path for path in paths))
    index = download_now(tmp_path, LIST, **LOCAL | {"per_host": 1})
    got = {n.removeprefix(server.url): content for n, content in contents(tmp_path, index).items()}
    assert all(got[f"/{number}"] == body_of(f"/{number}") for number in range(40))
    assert got["/too-much"] == body_of("/too-much")[:100]  # the whole, says the server


def test_a_server_is_not_asked_again_before_it_said(tmp_path, server):
    write_list(tmp_path, server.url + "/later", *(f"{server.url}/{n}" for n in range(20)))
    started = time.monotonic()
    index = download_now(tmp_path, LIST, **LOCAL | {"per_host": 1})
    assert (index["status"] == "kept").all()
    assert time.monotonic() - started >= 1
    assert server.seen["/later"] == 2


def test_what_servers_forbid_can_be_taken_in_all_the_same(tmp_path, server):
    write_list(tmp_path, server.url + "/noai")
    index = download_now(tmp_path, LIST, **LOCAL, obey_robots_tag=False)
    assert list(index["status"]) == ["kept"]


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
    changes = {"max_failed_fraction": 1.0, "retries": 0}
    index = download_now(tmp_path, {**LIST, "path": "urls.txt"}, **changes)
    assert index["status"].iloc[0] == "failed"
    assert reason is None or index["reason"].iloc[0] == reason


def test_a_redirect_to_a_private_address_is_refused(tmp_path, server, monkeypatch):
    from darkroom.sources.http import addresses

    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda host: host == "127.0.0.1" or real(host))
    write_list(tmp_path, server.url + "/private")
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


def test_neither_what_was_fetched_nor_what_failed_is_fetched_again(tmp_path, server):
    write_list(tmp_path, server.url + "/image", server.url + "/gone")
    download_now(tmp_path, LIST, **LOCAL)
    write_list(tmp_path, server.url + "/image", server.url + "/gone", server.url + "/new")
    index = download_now(tmp_path, LIST, **LOCAL)
    assert server.seen == {"/image": 1, "/gone": 1, "/new": 1}
    assert index.loc[server.url + "/new", "shard"] == "00001.tar"
    assert index.loc[server.url + "/gone", "reason"] == "http_404"
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


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet", "txt"])
def test_a_list_may_be_of_several_forms(tmp_path, server, form):
    urls = [f"{server.url}/{number}" for number in range(3)]
    table, path = pd.DataFrame({"url": urls, "label": ["a", "b", "a"]}), tmp_path / f"urls.{form}"
    if form == "parquet":
        table.to_parquet(path)
    elif form == "txt":
        path.write_text("\r\n".join(["# three", *urls]))
    else:
        table.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    index = download_now(tmp_path, {**LIST, "path": path.name}, **LOCAL)
    assert contents(tmp_path, index) == {u: body_of(f"/{n}") for n, u in enumerate(urls)}
    assert list(index["label"].dropna()) == ([] if form == "txt" else ["a", "b", "a"])


def test_every_reason_is_explained():
    assert {*MAY_PASS.values(), *FINAL.values(), "timeout", "too_slow"} - set(REASONS) <= {
        "http_404", "http_204", "http_429", "http_503",
    }  # fmt: skip


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
from tests.harness import read_tar

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
    assert "max_total_bytes = 10000 is reached: 17 records did not come in" in caplog.text
    forget_failures(tmp_path)
    index = download_now(tmp_path, LIST, **changes, max_total_bytes=30_000)
    assert list(index.loc[urls, "status"]) == ["kept"] * 10 + ["failed"] * 10
    write(tmp_path, a_jpg=b"a" * 100)
    index = download_now(tmp_path, FOLDER, LIST, **changes, max_total_bytes=30_000)
    assert index.loc["a.jpg", "reason"] == "total_limit"


def test_checksums_are_compared(tmp_path, server):
    good, urls = hashlib.sha256(body_of("/0")).hexdigest(), [f"{server.url}/{n}" for n in range(4)]
    cells = [good, f"md5:{hashlib.md5(body_of('/1')).hexdigest()}", good, ""]
    rows = [f"{url},{cell}" for url, cell in zip(urls, cells, strict=True)]
    (tmp_path / "urls.csv").write_text(
        "\n".join(["url,sum", *rows, f"{urls[0]},{'0' * 40}"]) + "\n"
    )
    index = download_now(tmp_path, {**LIST, "checksum_column": "sum"}, **LOCAL)
    assert index["reason"].dropna().to_dict() == {
        urls[2]: "wrong_checksum", f"{urls[0]}~2": "wrong_checksum"
    }  # fmt: skip
    assert contents(tmp_path, index) == {urls[n]: body_of(f"/{n}") for n in (0, 1, 3)}


@pytest.mark.parametrize(
    ("column", "message"),
    [("sum", r"urls\.csv:3: column sum: expected an md5.*got 'oops'"), ("md5", "a column `md5`")],
)
def test_a_wrong_checksum_column_stops_before_any_work(tmp_path, server, column, message):
    (tmp_path / "urls.csv").write_text(f"url,sum\n{server.url}/0,\n{server.url}/1,oops\n")
    with pytest.raises(UserError, match=message):
        download_now(tmp_path, {**LIST, "checksum_column": column}, **LOCAL)
    assert server.seen == {}


def test_retry_tries_again_what_failed_and_that_alone(tmp_path, server, monkeypatch):
    write_list(tmp_path, *(server.url + path for path in ("/image", "/gone", "/broken")))
    changes = LOCAL | {"retries": 0}
    before = download_now(tmp_path, LIST, **changes)
    raw = raw_files(tmp_path)
    server.seen.clear()
    forget_failures(tmp_path)
    pd.testing.assert_frame_equal(download_now(tmp_path, LIST, **changes), before)
    assert server.seen == {"/gone": 1, "/broken": 1}
    assert raw_files(tmp_path) == raw
    monkeypatch.setitem(ANSWERS, "/broken", Hostile.good)
    forget_failures(tmp_path)
    index = download_now(tmp_path, LIST, **changes)
    assert contents(tmp_path, index)[server.url + "/broken"] == body_of("/broken")
    assert list(index["reason"].dropna()) == ["http_404"]


def test_retry_without_anything_to_do_changes_nothing(tmp_path):
    forget_failures(tmp_path)
    write(tmp_path, a_jpg=b"a")
    download_now(tmp_path, FOLDER)
    before = (tmp_path / "data/raw/index.parquet").stat()
    forget_failures(tmp_path)
    after = (tmp_path / "data/raw/index.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_bodies_go_when_they_lie_in_a_shard(tmp_path, server, monkeypatch):
    """So that a large set does not need its room twice; shards wait until all are there."""
    monkeypatch.setattr(shards, "MAX_IMAGES", 10)
    monkeypatch.setattr(journal, "FILE_BYTES", 10_000)
    waiting, staged = [], tmp_path / download.SCRATCH / "shards"
    real = download.RawStore.add

    def add(self, source, entry):
        real(self, source, entry)
        files = (tmp_path / download.SCRATCH / "bodies").glob("*")
        waiting.append(sum(path.stat().st_size for path in files) // 3000)
        assert not (tmp_path / "data/raw").exists()

    monkeypatch.setattr(download.RawStore, "add", add)
    write_list(tmp_path, "http://127.0.0.1:9/", *(f"{server.url}/{n}" for n in range(100)))
    download_now(tmp_path, LIST, **LOCAL)
    assert waiting[-1] < 25  # one shard, and what shares a file with it
    assert not staged.exists()
    assert len(list((tmp_path / "data/raw").glob("*.tar"))) == 10


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


def test_a_stop_is_obeyed_at_once_and_leaves_what_was_fetched(tmp_path, server):
    """As Ctrl+C does: the generator is closed while hosts stall."""
    write_list(tmp_path, f"{server.url}/0", f"{server.url}/stall", f"{server.url}/1")
    params = check_params(values_for(LIST, **LOCAL | {"timeout_s": 10**6}), Params)
    store, bodies = download.RawStore(tmp_path / "raw"), download.Journal(tmp_path / "spool")
    source = open_source(params.download.sources[0], tmp_path, params.download)
    entries = source.list_entries().read(store, bodies, lambda _: None)
    assert next(entries).load() == body_of("/0")
    while len(bodies.outcomes()) < 2:
        time.sleep(0.01)
    entries.close()  # a stop that waits for the host would take eleven days
    keys = sorted(outcome.key for outcome in bodies.outcomes().values())
    assert keys == sorted(key_of(body_of(f"/{n}")) for n in (0, 1))


def test_dvc_sees_a_retry_and_runs_nothing_else_for_it(tmp_path, server, monkeypatch):
    write_list(tmp_path, *(server.url + path for path in ("/1", "/2", "/gone", "/broken")))
    source = {"kind": "list", "path": str(tmp_path / "urls.csv")}
    repository = make_repository(tmp_path / "repository", source)
    assert repro(repository, "download") == ["scan", "download"]
    assert repro(repository, "download") == ["scan"]
    lock = (repository / "dvc.lock").read_text()
    server.seen.clear()
    call(repository, "python", "-m", "darkroom", "retry")
    assert repro(repository, "download") == ["scan", "download"]
    assert server.seen == {"/gone": 1, "/broken": 1}
    assert (repository / "dvc.lock").read_text() == lock  # so that later stages are up to date
    monkeypatch.setitem(ANSWERS, "/broken", Hostile.good)
    assert repro(repository, "download") == ["scan"]
    call(repository, "python", "-m", "darkroom", "retry")
    assert repro(repository, "download") == ["scan", "download"]
    assert (repository / "dvc.lock").read_text() != lock
