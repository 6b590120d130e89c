"""Lists of URLs: from an honest and a hostile server, once and again, stopped and retried."""

import hashlib
import itertools
import logging
import time

import pandas as pd
import pytest

from darkroom.core import shards
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of
from darkroom.sources.failure_reasons import REASONS
from darkroom.sources.http import response
from darkroom.sources.kinds.dispatch import open_source
from darkroom.sources.store import journal
from darkroom.sources.store.purged import write_purged
from darkroom.sources.store.raw_store import forget_failures
from stages import download
from tests.sources.harness import (
    LIST,
    contents,
    download_now,
    raw_files,
    run,
    values_for,
    write_list,
)
from tests.sources.hostile_server import ANSWERS, PAGE, Hostile, body_of, serving


@pytest.fixture
def server():
    with serving() as server:
        yield server


LOCAL = {"allow_private_hosts": True, "timeout_s": 60, "max_failed_fraction": 1.0}


INTACT = [
    "/image", "/jpeg-as-html", "/moved", "/flaky", "/slowly", "/chunked", "/gzip", "/identity",
    "/request-timeout",
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


def test_what_a_changed_setting_cures_is_tried_again_and_nothing_else(tmp_path, server, caplog):
    urls = [server.url + path for path in ("/image", "/noai", "/gone")]
    write_list(tmp_path, *urls)
    with caplog.at_level(logging.INFO):
        index = download_now(tmp_path, LIST, **LOCAL | {"allow_private_hosts": False})
    assert set(index["reason"]) == {"private_address"}
    assert "3 private_address: a private address; see download.allow_private_hosts" in caplog.text
    assert caplog.messages[-1].startswith(
        "download: 3 in, 0 kept, 0 rejected, 3 failed (private_address 3), "
    )
    index = download_now(tmp_path, LIST, **LOCAL)
    assert list(index.loc[urls, "reason"].fillna("")) == ["", "robots_tag", "http_404"]
    server.seen.clear()
    index = download_now(tmp_path, LIST, **LOCAL, obey_robots_tag=False)
    assert list(index.loc[urls, "reason"].fillna("")) == ["", "", "http_404"]
    assert list(server.seen) == ["/noai"]


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


def test_a_parquet_list_needs_no_extension(tmp_path, server):
    pd.DataFrame({"url": [f"{server.url}/a.png"], "label": ["x"]}).to_parquet(tmp_path / "list")
    _, index = run(tmp_path, {"kind": "list", "path": "list"})
    assert list(index["label"]) == ["x"]
