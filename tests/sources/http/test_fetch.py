"""Fetching: what is kept of a body that broke off, secrets, the environment, certificates."""

import asyncio
import resource
import ssl
import subprocess
import sys

import pytest
import yaml

from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of
from darkroom.sources.http import response
from darkroom.sources.http.fetch import fetch_all
from darkroom.sources.http.response import Job
from darkroom.sources.kinds.url_list import digest_of
from darkroom.sources.store import journal as module
from darkroom.sources.store.journal import Journal
from tests.harness import read_values, tool_environment
from tests.sources.hostile_server import Hostile, body_of, serving


@pytest.fixture
def settings():
    values = read_values()
    values["download"] |= {"allow_private_hosts": True, "timeout_s": 60, "retries": 1}
    return check_params(values, Params).download


def fetch(journal, settings, *urls):
    jobs = [Job(digest_of(url), url) for url in urls]
    return [each.key or each.reason for each in fetch_all(jobs, journal, settings, lambda _: None)]


def test_what_a_killed_run_had_of_a_body_is_not_fetched_again(tmp_path, settings):
    """A part as a kill leaves it: the rest alone is asked for."""
    url_path, body = "/break", body_of("/break")
    with serving() as server:
        server.seen[url_path] = 1
        journal, url = Journal(tmp_path), server.url + url_path
        part = journal.part(digest_of(url))
        part.start('"v"', len(body))
        part.append(body[:2000])
        assert fetch(journal, settings, url) == [key_of(body)]
        assert server.ranges[url_path] == ["bytes=2000-"]
        assert journal.read(journal.outcomes()[digest_of(url)]) == body
        assert list((tmp_path / "parts").iterdir()) == []


def test_what_a_power_cut_left_is_fetched_again(tmp_path, settings, monkeypatch):
    with serving() as server:
        journal, url = Journal(tmp_path), server.url + "/image"
        part = journal.part(digest_of(url))
        part.start('"v"', 3000)
        part.append(bytes(2000))  # what a file system may make of data that was not synced
        monkeypatch.setattr(module, "_boot", lambda: "another start")
        assert fetch(journal, settings, url) == [key_of(body_of("/image"))]
        assert server.ranges["/image"] == [None]


def test_a_large_body_waits_on_disk_whether_it_may_go_on_or_not(tmp_path, settings, monkeypatch):
    """Else as many bodies as there are connections would lie in memory, 64 MiB each."""
    appended = []
    append = module.PartialBody.append
    monkeypatch.setattr(
        module.PartialBody,
        "append",
        lambda part, content: (appended.append(content), append(part, content)),
    )
    monkeypatch.setattr(response, "SPILL_BYTES", 1000)
    with serving() as server:
        journal = Journal(tmp_path)
        assert fetch(journal, settings, server.url + "/image") == [key_of(body_of("/image"))]
    (outcome,) = journal.outcomes().values()
    assert journal.read(outcome) == b"".join(appended) == body_of("/image")
    assert list((tmp_path / "parts").iterdir()) == []


def test_what_a_kill_left_of_a_body_without_a_validator_is_fetched_again(tmp_path, settings):
    with serving() as server:
        journal, url = Journal(tmp_path), server.url + "/image"
        part = journal.part(digest_of(url))
        part.start("", 3000)
        part.append(bytes(2000))
        assert fetch(journal, settings, url) == [key_of(body_of("/image"))]
        assert server.ranges["/image"] == [None]


def test_the_environment_offers_no_proxy_and_no_password(tmp_path, settings, monkeypatch):
    with serving() as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        seen = []
        monkeypatch.setattr(
            Hostile, "good", lambda self: (seen.append(dict(self.headers)), self.answer(200, b"x"))
        )
        assert fetch(Journal(tmp_path / "journal"), settings, server.url + "/image") == [
            key_of(b"x")
        ]
        assert "Authorization" not in seen[0]
        assert seen[0]["User-Agent"] == settings.user_agent
        assert seen[0]["Accept-Encoding"] == "identity"


def test_a_certificate_that_nobody_signed_is_refused(tmp_path, settings):
    names = [str(tmp_path / name) for name in ("key.pem", "cert.pem")]
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-keyout", names[0], "-out", names[1]],
            check=True, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("openssl is not installed, which makes the certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(names[1], names[0])
    with serving() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}/image"
        assert fetch(Journal(tmp_path / "journal"), settings, url) == ["bad_certificate"]
        assert server.seen == {}


def test_a_full_disk_stops_and_says_what_to_do_and_costs_no_row(tmp_path):
    """A limit on the size of files stands for it: the system refuses in the same way."""
    values = read_values()
    source = {"kind": "list", "path": "urls.txt"}
    values["download"] |= {"allow_private_hosts": True, "sources": [source]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with serving() as server:
        (tmp_path / "urls.txt").write_text("".join(f"{server.url}/{n}\n" for n in range(9)))
        process = subprocess.run(
            [sys.executable, "-m", "stages.download"], cwd=tmp_path, capture_output=True, text=True,
            env=tool_environment(), check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
        )  # fmt: skip
    assert process.returncode == 1
    assert "/.darkroom/download/bodies/" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / ".darkroom/download/journal").exists()
    assert not (tmp_path / "data").exists()


class Redirecting(Hostile):
    """Every address but 127.0.0.1 sends to 127.0.0.1, where each answer takes 10 s of loop time."""

    passed_s = 0.0

    def good(self):
        host, _, port = self.headers["Host"].partition(":")
        if host == "127.0.0.1":
            Redirecting.passed_s += 10
            return super().good()
        return self.answer(302, b"", {"Location": f"http://127.0.0.1:{port}{self.path}"})


def test_many_hosts_that_send_to_one_wait_for_it_without_a_timeout(tmp_path, settings, monkeypatch):
    """Thirty answers of 10 s, one at a time, take longer than the 120 s that a single one may."""
    real = asyncio.BaseEventLoop.time
    monkeypatch.setattr(Redirecting, "passed_s", 0.0)
    monkeypatch.setattr(
        asyncio.BaseEventLoop, "time", lambda loop: real(loop) + Redirecting.passed_s
    )
    patient = settings.model_copy(update={"per_host": 1, "retries": 0})
    with serving(Redirecting, "0.0.0.0") as server:  # all of 127.0.0.0/8
        port = server.url.rpartition(":")[2]
        paths = [f"/{number}" for number in range(2, 32)]
        urls = [f"http://127.0.0.{path[1:]}:{port}{path}" for path in paths]
        found = fetch(Journal(tmp_path), patient, *urls)
    assert found == [key_of(body_of(path)) for path in paths]
