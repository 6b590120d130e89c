"""A hostile web server: it stalls, drips, lies and breaks off, and counts the requests by path.

What a path gives is in ANSWERS; any other path gives `body_of(path)`, which depends on it alone.
"""

import contextlib
import gzip
import hashlib
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<html><body>404, in disguise</body></html>"
OLD = "Wed, 01 May 2024 12:00:00 GMT"


def body_of(path, size=3000):
    """Return bytes that look like a JPEG and like nothing else."""
    noise = b"".join(hashlib.sha256(f"{path} {n}".encode()).digest() for n in range(size // 32 + 1))
    return (b"\xff\xd8\xff" + noise)[:size]


class Hostile(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        with self.server.lock:
            self.server.seen[path] += 1
            self.turn = self.server.seen[path]
        self.server.ranges[path].append(self.headers.get("Range"))
        ANSWERS.get(path, type(self).good)(self)

    def good(self):
        self.answer(200, body_of(self.path.partition("?")[0]))

    def answer(self, status, body=b"", headers=None, close=False):
        self.send_response(status)
        sent = {"Content-Length": str(len(body)), **(headers or {})}
        for name, value in sent.items():
            for each in value if isinstance(value, list) else [value]:
                if each is not None:
                    self.send_header(name, each)
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def breaks(self, validator, then, headers=None):
        """Send half of a body and hang up; whoever asks again gets what `then` gives."""
        body = body_of(self.path)
        if self.turn > 1:
            return then(self, body, self.headers.get("Range"))
        half = body[: len(body) // 2]
        sent = {"Content-Length": str(len(body)), **validator, **(headers or {})}
        return self.answer(200, half, sent, close=True)

    def reset(self):
        self.close_connection = True
        self.connection.close()

    def stall(self):
        """Say nothing more, however long the client waits."""
        self.server.done.wait()
        self.close_connection = True

    def stall_half_way(self):
        self.answer(200, b"half", {"Content-Length": "8"})
        self.stall()

    def drip(self):
        """Send a byte now and then, until the client hangs up."""
        self.answer(200, b"", {"Content-Length": "1000000"})
        while not self.server.done.wait(0.01):
            self.wfile.write(b"x")
        self.close_connection = True

    def drip_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.server.done.wait(0.1):
            self.wfile.write(b"x")
        self.close_connection = True

    def endless_headers(self):
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(200_000):
            self.wfile.write(b"X-%d: %s\r\n" % (number, b"x" * 1000))

    def slowly(self):
        body = body_of(self.path)
        self.answer(200, b"", {"Content-Length": str(len(body))})
        for start in range(0, len(body), 500):
            time.sleep(0.02)
            self.wfile.write(body[start : start + 500])

    def too_much(self):
        """Send more than announced, once the client may have asked for something else."""
        body = body_of(self.path)
        self.answer(200, body[:100], {"Content-Length": "100"})
        self.server.done.wait(0.03)
        self.wfile.write(body[100:])

    def later(self, headers):
        if self.turn > 1:
            return self.good()
        return self.answer(429, b"not now", headers)

    def chunked(self):
        self.answer(200, b"", {"Content-Length": None, "Transfer-Encoding": "chunked"})
        body = body_of(self.path)
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    def chunked_cut(self):
        self.answer(200, b"", {"Content-Length": None, "Transfer-Encoding": "chunked"}, close=True)
        self.wfile.write(b"fff\r\nhalf of it")

    def encoded(self, encoding, body):
        self.answer(200, body, {"Content-Encoding": encoding})

    def with_tag(self, *tags):
        self.answer(200, body_of(self.path), {"X-Robots-Tag": list(tags)})

    def redirect(self, location):
        self.answer(302, b"over there", {"Location": location})

    def log_message(self, *arguments):
        pass

    def handle(self):
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()


def rest(handler, body, asked):
    """Send what was asked for, honestly."""
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    span = f"bytes {start}-{len(body) - 1}/{len(body)}"
    handler.answer(206, body[start:], {"Content-Range": span, "ETag": '"v"'})


def whole(handler, body, _):
    handler.answer(200, body, {"ETag": '"other"'})


def only_plain(status, headers):
    """Refuse ranges, or lie about them; a plain request is served."""

    def then(handler, body, asked):
        if asked is None:
            handler.answer(200, body, {"ETag": '"v"'})
        else:
            handler.answer(status, b"" if status == 416 else body[:7], headers)

    return then


def _soon():
    return format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)


ETAG, DATE = {"ETag": '"v"'}, {"Last-Modified": OLD}
BOMB = gzip.compress(bytes(50_000_000))

ANSWERS = {
    "/reset": Hostile.reset,
    "/stall": Hostile.stall,
    "/stall-half-way": Hostile.stall_half_way,
    "/drip": Hostile.drip,
    "/drip-headers": Hostile.drip_headers,
    "/endless-headers": Hostile.endless_headers,
    "/slowly": Hostile.slowly,
    "/chunked": Hostile.chunked,
    "/chunked-cut": Hostile.chunked_cut,
    "/garbage": lambda s: (s.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n"), s.reset()),
    "/short": lambda s: s.answer(200, b"half", {"Content-Length": "8"}, close=True),
    "/too-much": Hostile.too_much,
    "/large": lambda s: s.answer(200, bytes(1_000_000)),
    "/unannounced": lambda s: s.answer(200, bytes(1_000_000), {"Content-Length": None}, close=True),
    "/html-as-jpeg": lambda s: s.answer(200, PAGE, {"Content-Type": "image/jpeg"}),
    "/jpeg-as-html": lambda s: s.answer(200, body_of(s.path), {"Content-Type": "text/html"}),
    "/gone": lambda s: s.answer(404, PAGE),
    "/broken": lambda s: s.answer(503),
    "/empty-answer": lambda s: s.answer(204),
    "/flaky": lambda s: s.answer(500) if s.turn == 1 else s.good(),
    "/request-timeout": lambda s: s.answer(408) if s.turn == 1 else s.good(),
    "/moved": lambda s: s.redirect("/image/moved"),
    "/circle": lambda s: s.redirect("/circle"),
    "/elsewhere": lambda s: s.redirect("file:///etc/passwd"),
    "/nowhere": lambda s: s.redirect("http://[::1"),
    "/private": lambda s: s.redirect("http://169.254.169.254/latest"),
    "/later": lambda s: s.later({"Retry-After": "1"}),
    "/later-date": lambda s: s.later({"Retry-After": _soon()}),
    "/later-unsaid": lambda s: s.later({}),
    "/much-later": lambda s: s.later({"Retry-After": "86400"}),
    "/gzip": lambda s: s.encoded("gzip", gzip.compress(body_of(s.path))),
    "/gzip-cut": lambda s: s.encoded("gzip", gzip.compress(body_of(s.path))[:-20]),
    "/gzip-more": lambda s: s.encoded("gzip", gzip.compress(body_of(s.path)) + b"more"),
    "/gzip-not": lambda s: s.encoded("gzip", body_of(s.path)),
    "/gzip-bomb": lambda s: s.encoded("gzip", BOMB),
    "/brotli": lambda s: s.encoded("br", b"\x0b\x02\x80"),
    "/identity": lambda s: s.encoded("identity", body_of(s.path)),
    "/noai": lambda s: s.with_tag("noai"),
    "/noindex-too": lambda s: s.with_tag("nosnippet", "NoFollow, NoIndex"),
    "/none-for-us": lambda s: s.with_tag("darkroom: none"),
    "/noai-for-others": lambda s: s.with_tag("otherbot: noai, noindex"),
    "/break": lambda s: s.breaks(ETAG, rest),
    "/break-date": lambda s: s.breaks(DATE, rest),
    "/break-unmarked": lambda s: s.breaks({}, whole),
    "/break-weak": lambda s: s.breaks({"ETag": 'W/"v"'}, whole),
    "/break-changed": lambda s: s.breaks(ETAG, whole),
    "/break-416": lambda s: s.breaks(ETAG, only_plain(416, {"Content-Range": "bytes */5"})),
    "/break-lies": lambda s: s.breaks(
        ETAG, only_plain(206, {"Content-Range": "bytes 0-6/3000"})),
    "/break-total": lambda s: s.breaks(
        ETAG, only_plain(206, {"Content-Range": "bytes 1500-1506/4000"})),
    "/break-etag": lambda s: s.breaks(
        ETAG, only_plain(206, {"Content-Range": "bytes 1500-1506/3000", "ETag": '"w"'})),
    "/206-unasked": lambda s: s.answer(
        206, b"half", {"Content-Range": "bytes 4-7/8", "ETag": '"v"'}),
}  # fmt: skip


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


@contextlib.contextmanager
def serving(handler=Hostile, address="127.0.0.1"):
    """Serve on a port of its own; gives the server with `url`, `seen` and `ranges`."""
    with Server((address, 0), handler) as server:
        server.seen, server.done, server.lock = Counter(), threading.Event(), threading.Lock()
        server.ranges = defaultdict(list)
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.done.set()
            server.shutdown()
            thread.join()
