"""A web server of files with ranges, which breaks connections off on demand."""

from http.server import BaseHTTPRequestHandler

from darkroom.core.shards import key_of


class Files(BaseHTTPRequestHandler):
    """A server of files with ranges, which breaks connections off on demand."""

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
