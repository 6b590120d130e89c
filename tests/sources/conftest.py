"""What the tests of sources fetch from: a remote store in memory, and a web server of files."""

import threading
from http.server import ThreadingHTTPServer

import fsspec
import pytest

from darkroom.sources import remote_files
from tests.sources.file_server import Files


@pytest.fixture
def bucket(monkeypatch):
    """A remote store in memory, through the same code as any driver's."""
    monkeypatch.setitem(remote_files.DRIVERS, "memory", "memory")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


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
