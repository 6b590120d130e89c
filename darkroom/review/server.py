"""The page's server: on the loopback alone, for one person, who holds the session's token.

- Other machines cannot reach it. Other *pages* in the same browser can try: a request whose `Host`
  is not ours (DNS rebinding), whose `Origin` is not ours, or that the browser marks as cross-site
  is refused, and without the token nothing is told or changed.
- The token is in the fragment of the address, which browsers never send; the page moves it into its
  own storage and sends it in a header. Pictures cannot carry headers: they take a cookie, which is
  good for pictures alone, since a cookie goes to every port of this machine.
- Names and labels come from files of strangers: they go out as JSON, and the page shows them as
  text. Its policy allows no script but its own file.
"""

import asyncio
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web

from darkroom.core.errors import UserError
from darkroom.core.params.whole import Params
from darkroom.labels.decisions import ABOUT, Decision, Subject, check
from darkroom.review.history import Journal, Step, keys_of
from darkroom.review.items import KINDS, Findings, stamp
from darkroom.review.thumbnail_pool import LARGE_PX, SMALL_PX, Thumbnails

HERE = Path(__file__).with_name("page")
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PAGE_SIZE, LARGEST_PAGE = 20, 50  # items
MOST_BODY_BYTES = 256 * 1024
MOST_DECISIONS = 1000  # in one action: the largest group that is confirmed at once
LONGEST_QUERY = 200

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Review:
    """One session: what there is to review, what was decided, and who may ask."""

    def __init__(self, root: Path, params: Params, journal: Journal) -> None:
        """Read the tables below `root`."""
        self._root, self._params = root, params
        self.journal = journal
        self.findings = Findings(root, params, journal.rows)
        self.token, self.picture_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.launch: str | None = None  # good once, for an address that others can see in `ps`
        self.port = 0  # known when the server listens
        self._thumbnails: Thumbnails | None = None
        self._loading = asyncio.Lock()

    def application(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[self._guard], client_max_size=MOST_BODY_BYTES)
        app.add_routes([web.get(path, self._file) for path in FILES])
        app.add_routes([
            web.post("/api/session", self._session),
            web.get("/api/items", self._items),
            web.get("/api/item", self._item),
            web.post("/api/decide", self._decide),
            web.post("/api/undo", self._undo),
            web.post("/api/redo", self._redo),
            web.get("/picture/{key:[0-9a-f]{32}}", self._picture),
        ])  # fmt: skip
        app.on_cleanup.append(self._close)
        return app

    def address(self, token: str) -> str:
        """Return the address to open."""
        return f"http://127.0.0.1:{self.port}/#{token}"

    @property
    def cookie(self) -> str:
        """Return the name of the cookie; ports share cookies, hence the port in it."""
        return f"darkroom-pictures-{self.port}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._refuse_strangers(request)
            response = await handler(request)
        except web.HTTPException as error:
            response = _error(error.status, error.text or error.reason)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except UserError as error:
            response = _error(409, str(error))
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _refuse_strangers(self, request: web.Request) -> None:
        ours = {f"{host}:{self.port}" for host in ("127.0.0.1", "localhost")}
        if request.headers.get("Host") not in ours:
            raise web.HTTPMisdirectedRequest(text="this server answers on the loopback alone")
        origin = request.headers.get("Origin")
        if origin is None and request.method not in {"GET", "HEAD"}:
            raise web.HTTPForbidden(text="a change must name its Origin")
        if origin is not None and origin not in {f"http://{host}" for host in ours}:
            raise web.HTTPForbidden(text="this page is not allowed to ask")
        guarded = request.path.startswith(("/api/", "/picture/"))
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if guarded and site not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text="another site asks")
        if request.path.startswith("/picture/"):
            given, wanted = request.cookies.get(self.cookie, ""), [self.picture_token]
        else:
            given, wanted = request.headers.get("X-Token", ""), [self.token]
            if request.path == "/api/session" and self.launch:
                wanted.append(self.launch)
        if guarded and not any(hmac.compare_digest(given.encode(), w.encode()) for w in wanted):
            raise web.HTTPUnauthorized(text="open the address that `make review` printed")

    async def _file(self, request: web.Request) -> web.Response:
        name, kind = FILES[request.path]
        return web.Response(text=(HERE / name).read_text(), content_type=kind, charset="utf-8")

    async def _session(self, request: web.Request) -> web.Response:
        if request.headers["X-Token"] == self.launch:
            self.launch = None
        response = web.json_response({"token": self.token})
        response.set_cookie(
            self.cookie, self.picture_token, path="/picture/", httponly=True, samesite="Strict"
        )
        return response

    async def _items(self, request: web.Request) -> web.Response:
        await self._refresh()
        query = request.query
        kind, undecided = query.get("kind", KINDS[0]), query.get("undecided") == "1"
        words = query.get("query", "")
        if kind not in KINDS or len(words) > LONGEST_QUERY:
            raise web.HTTPBadRequest(text=f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
        start = _number(query.get("start", "0"), "start", 0, 10**9)
        limit = _number(query.get("limit", str(PAGE_SIZE)), "limit", 1, LARGEST_PAGE)
        findings, rows = self.findings, self.journal.rows
        if place := findings.position(query.get("at", "")):
            kind, start = place
            undecided, words = False, ""
        if query.get("backwards") == "1":
            before = list(islice(findings.find(kind, start - 1, -1, words, undecided), limit))
            start = before[-1] if before else 0
        found = list(islice(findings.find(kind, start, 1, words, undecided), limit + 1))
        earlier = next(findings.find(kind, start - 1, -1, words, undecided), None)
        return web.json_response({
            "kind": kind,
            "items": [
                {"position": n, **findings.describe(findings.items[kind][n], rows)}
                for n in found[:limit]
            ],
            "next": found[limit] if len(found) > limit else None,
            "earlier": earlier is not None,
            **self._state(),
        })  # fmt: skip

    async def _item(self, request: web.Request) -> web.Response:
        place = self.findings.position(request.query.get("id", ""))
        if place is None:
            raise web.HTTPNotFound(text="no such item")
        item = self.findings.items[place[0]][place[1]]
        found = self.findings.describe(item, self.journal.rows, most=MOST_DECISIONS)
        return web.json_response({"item": {"position": place[1], **found}, **self._state()})

    async def _decide(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
            given, where = body["decisions"], str(body.get("where", ""))[:LONGEST_QUERY]
            asked = [tuple(str(row.get(n, "")) for n in _FIELDS) for row in given]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise web.HTTPBadRequest(text="expected JSON with a list `decisions`") from error
        if not 0 < len(asked) <= MOST_DECISIONS:
            raise web.HTTPBadRequest(text=f"expected 1 to {MOST_DECISIONS} decisions")
        self._reread()
        wanted = dict(self._change(*fields) for fields in asked)
        self._note(self.journal.decide(wanted, where))
        return web.json_response(self._state())

    def _change(
        self, key: str, other: str, decision: str, value: str, clear: str
    ) -> tuple[Subject, Decision | None]:
        """Check one wanted change against the file's rules and against the images here."""
        if clear:
            if clear not in ABOUT.values():
                raise web.HTTPBadRequest(text=f"clear: expected one of {set(ABOUT.values())}")
            first, second = sorted((key, other)) if other else (key, "")
            return Subject(first, second, clear), None
        try:
            row = check(Decision(key, other, decision, value))
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        for name in filter(None, (row.key, row.other)):
            if self.findings.place(name) is None:
                raise web.HTTPNotFound(text=f"no image has the key {name}")
        if row.decision == "keep" and not self.findings.decodes(row.key):
            raise web.HTTPConflict(text="this file does not decode: there is nothing to keep")
        scale = self._params.train.scale
        if row.decision == "mean" and not scale.low <= float(row.value) <= scale.high:
            raise web.HTTPBadRequest(
                text=f"expected a score from {scale.low:g} to {scale.high:g} (train.scale)"
            )
        return row.subject, row

    async def _undo(self, request: web.Request) -> web.Response:
        return self._stepped(self.journal.undo)

    async def _redo(self, request: web.Request) -> web.Response:
        return self._stepped(self.journal.redo)

    def _stepped(self, move: Callable[[], Step | None]) -> web.Response:
        self._reread()
        step = move()
        self._note(keys_of(step) if step else set())
        return web.json_response({"where": step.where if step else None, **self._state()})

    async def _picture(self, request: web.Request) -> web.Response:
        place = self.findings.place(key := request.match_info["key"])
        if place is None or not self.findings.decodes(key):
            raise web.HTTPNotFound(text="no picture")
        if self._thumbnails is None:
            self._thumbnails = Thumbnails()
        side = LARGE_PX if request.query.get("large") == "1" else SMALL_PX
        picture = await self._thumbnails.get(
            self.findings.folder, place, side, self.findings.max_pixels
        )
        if not picture:
            raise web.HTTPNotFound(text="this image cannot be shown")
        # A key is the digest of the bytes: what it stands for never changes.
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return web.Response(body=picture, content_type="image/jpeg", headers=headers)

    def _state(self) -> dict[str, Any]:
        scale = self._params.train.scale
        return {
            "counts": self.findings.counts(),
            "undo": len(self.journal.done),
            "redo": len(self.journal.undone),
            "labels": self.findings.labels,
            "rated": self.findings.rated,
            "scale": [scale.low, scale.high],
        }

    def _reread(self) -> None:
        """Take in what another program wrote into the file, so that it is not overwritten."""
        self._note(self.journal.refresh())

    def _note(self, keys: set[str]) -> None:
        if keys:
            self.findings.refresh(keys, self.journal.rows)

    async def _refresh(self) -> None:
        """Show what stages wrote since, and what another program wrote into the file."""
        self._reread()
        async with self._loading:
            now = stamp(self._root)
            if now and now != self.findings.stamp:
                # half of a run: the next look tells
                with suppress(FileNotFoundError, ValueError, UserError):
                    self.findings = await asyncio.to_thread(
                        Findings, self._root, self._params, dict(self.journal.rows)
                    )
                    self._note({subject.key for subject in self.journal.rows})

    async def _close(self, _: web.Application) -> None:
        if self._thumbnails:
            self._thumbnails.close()


_FIELDS = ("key", "other", "decision", "value", "clear")


def _number(text: str, name: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
        raise web.HTTPBadRequest(text=f"{name}: expected {low} to {high}, got {text[:20]!r}")
    return int(text)


def _error(status: int, words: str) -> web.Response:
    return web.json_response({"error": words}, status=status)
