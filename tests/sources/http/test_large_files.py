"""Large files over HTTP: resumed, refused, without secrets."""

import logging
import os

import pytest

from darkroom.core.errors import UserError
from tests.sources.harness import PICTURES, contents, run
from tests.sources.make_archives import zip_of


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


def test_a_body_without_a_strong_version_begins_again(tmp_path, server):
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
