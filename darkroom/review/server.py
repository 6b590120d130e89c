"""The page's server: on the loopback alone, for one person, who holds the session's token.

- Other machines cannot reach it. Other *pages* in the same browser can try: a request whose `Host`
  is not ours (DNS rebinding), whose `Origin` is not ours, or that the browser marks as cross-site
  is refused, and without the token nothing is shown or changed.
- The token is in the fragment of the address, which browsers never send; the page moves it into its
  own storage and sends it in a header. Pictures cannot carry headers: they take a cookie, which is
  good for pictures alone, since a cookie goes to every port of this machine.
- Names and labels come from files of strangers: they go out as JSON, and the page shows them as
  text. Its policy allows no script but its own file.
"""

import asyncio
import hmac
import json
import logging
import os
import secrets
import signal
import sys
import webbrowser
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web

from darkroom.core.errors import UserError
from darkroom.core.params.whole import Params
from darkroom.labels.decisions import ABOUT, REVIEW, Decision, Subject, check
from darkroom.review.history import History, keys_of
from darkroom.review.items import KINDS, ReviewItems, table_times
from darkroom.review.pictures import LARGE_PX, SMALL_PX, draw

HERE = Path(__file__).with_name("page")
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PAGE_SIZE, MAX_PAGE_SIZE = 20, 50  # items
MAX_BODY_BYTES = 256 * 1024
MAX_DECISIONS = 1000  # in one action: the largest group that is confirmed at once
MAX_QUERY_LENGTH = 200

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

logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ReviewSession:
    """One session: what there is to review, what was decided, and who may ask."""

    def __init__(self, root: Path, params: Params, history: History) -> None:
        """Read the tables below `root`."""
        self._root, self._params = root, params
        self.history = history
        self.items = ReviewItems(root, params, history.rows)
        self.token, self.picture_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.one_time_token: str | None = None  # for an address that others can see in `ps`
        self.port = 0  # known when the server listens
        self._loading = asyncio.Lock()

    def application(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app.add_routes([web.get(path, self._file) for path in FILES])
        app.add_routes([
            web.post("/api/session", self._session),
            web.get("/api/items", self._items),
            web.get("/api/item", self._item),
            web.post("/api/decide", self._decide),
            web.post("/api/undo", self._undo_or_redo),
            web.post("/api/redo", self._undo_or_redo),
            web.get("/picture/{key:[0-9a-f]{32}}", self._picture),
        ])  # fmt: skip
        return app

    def url(self, token: str) -> str:
        """Return the address to open."""
        return f"http://127.0.0.1:{self.port}/#{token}"

    @property
    def cookie(self) -> str:
        """Return the name of the cookie; ports share cookies, hence the port in it."""
        return f"darkroom-pictures-{self.port}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check_access(request)
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

    def _check_access(self, request: web.Request) -> None:
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
            if request.path == "/api/session" and self.one_time_token:
                wanted.append(self.one_time_token)
        if guarded and not any(hmac.compare_digest(given.encode(), w.encode()) for w in wanted):
            raise web.HTTPUnauthorized(text="open the address that `make review` printed")

    async def _file(self, request: web.Request) -> web.Response:
        name, kind = FILES[request.path]
        return web.Response(text=(HERE / name).read_text(), content_type=kind, charset="utf-8")

    async def _session(self, request: web.Request) -> web.Response:
        if request.headers["X-Token"] == self.one_time_token:
            self.one_time_token = None
        response = web.json_response({"token": self.token})
        response.set_cookie(
            self.cookie, self.picture_token, path="/picture/", httponly=True, samesite="Strict"
        )
        return response

    async def _items(self, request: web.Request) -> web.Response:
        await self._reload()
        query = request.query
        kind, undecided = query.get("kind", KINDS[0]), query.get("undecided") == "1"
        words = query.get("query", "")
        if kind not in KINDS or len(words) > MAX_QUERY_LENGTH:
            raise web.HTTPBadRequest(text=f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
        start = _number(query.get("start", "0"), "start", 0, 10**9)
        limit = _number(query.get("limit", str(PAGE_SIZE)), "limit", 1, MAX_PAGE_SIZE)
        items, rows = self.items, self.history.rows
        if at := items.position(query.get("at", "")):
            kind, start = at
            undecided, words = False, ""
        if query.get("backwards") == "1":
            before = list(islice(items.find(kind, start - 1, -1, words, undecided), limit))
            start = before[-1] if before else 0
        positions = list(islice(items.find(kind, start, 1, words, undecided), limit + 1))
        earlier = next(items.find(kind, start - 1, -1, words, undecided), None)
        return web.json_response({
            "kind": kind,
            "items": [
                {"position": n, **items.describe(items.by_kind[kind][n], rows)}
                for n in positions[:limit]
            ],
            "next": positions[limit] if len(positions) > limit else None,
            "earlier": earlier is not None,
            **self._state(),
        })  # fmt: skip

    async def _item(self, request: web.Request) -> web.Response:
        at = self.items.position(request.query.get("id", ""))
        if at is None:
            raise web.HTTPNotFound(text="no such item")
        kind, position = at
        item = self.items.by_kind[kind][position]
        description = self.items.describe(item, self.history.rows, most=MAX_DECISIONS)
        return web.json_response({"item": {"position": position, **description}, **self._state()})

    async def _decide(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
            given, where = body["decisions"], str(body.get("where", ""))[:MAX_QUERY_LENGTH]
            asked = [tuple(str(row.get(n, "")) for n in _FIELDS) for row in given]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise web.HTTPBadRequest(text="expected JSON with a list `decisions`") from error
        if not 0 < len(asked) <= MAX_DECISIONS:
            raise web.HTTPBadRequest(text=f"expected 1 to {MAX_DECISIONS} decisions")
        self._reload_decisions()
        wanted = dict(self._change(*fields) for fields in asked)
        self._update_items(self.history.decide(wanted, where))
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
            if not self.items.is_known(name):
                raise web.HTTPNotFound(text=f"no image has the key {name}")
        if row.decision == "keep" and not self.items.decodes(row.key):
            raise web.HTTPConflict(text="this file does not decode: there is nothing to keep")
        scale = self._params.train.scale
        if row.decision == "mean" and not scale.low <= float(row.value) <= scale.high:
            raise web.HTTPBadRequest(
                text=f"expected a score from {scale.low:g} to {scale.high:g} (train.scale)"
            )
        return row.subject, row

    async def _undo_or_redo(self, request: web.Request) -> web.Response:
        self._reload_decisions()
        move = self.history.undo if request.path == "/api/undo" else self.history.redo
        step = move()
        self._update_items(keys_of(step.after) if step else set())
        return web.json_response({"where": step.where if step else None, **self._state()})

    async def _picture(self, request: web.Request) -> web.Response:
        large = request.query.get("large") == "1"
        place = self.items.place(request.match_info["key"], large)
        if place is None:
            raise web.HTTPNotFound(text="no picture")
        side = LARGE_PX if large else SMALL_PX
        picture = await asyncio.to_thread(draw, self._root, place, side)
        if picture is None:
            raise web.HTTPNotFound(text="this image cannot be shown")
        # A key is the digest of the bytes: what it stands for never changes.
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return web.Response(body=picture, content_type="image/jpeg", headers=headers)

    def _state(self) -> dict[str, Any]:
        scale = self._params.train.scale
        return {
            "counts": self.items.counts(),
            "undo": len(self.history.undo_stack),
            "redo": len(self.history.redo_stack),
            "labels": self.items.labels,
            "rated": self.items.rated,
            "scale": [scale.low, scale.high],
        }

    def _reload_decisions(self) -> None:
        """Take in what another program wrote into the file, so that it is not overwritten."""
        self._update_items(self.history.reload())

    def _update_items(self, keys: set[str]) -> None:
        if keys:
            self.items.refresh(keys, self.history.rows)

    async def _reload(self) -> None:
        """Show what stages wrote since, and what another program wrote into the file."""
        self._reload_decisions()
        async with self._loading:
            now = table_times(self._root)
            if now and now != self.items.table_times:
                # half of a run: the next request sees it whole
                with suppress(FileNotFoundError, ValueError, UserError):
                    self.items = await asyncio.to_thread(
                        ReviewItems, self._root, self._params, dict(self.history.rows)
                    )
                    self._update_items({subject.key for subject in self.history.rows})


_FIELDS = ("key", "other", "decision", "value", "clear")


def _number(text: str, name: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
        raise web.HTTPBadRequest(text=f"{name}: expected {low} to {high}, got {text[:20]!r}")
    return int(text)


def _error(status: int, words: str) -> web.Response:
    return web.json_response({"error": words}, status=status)


async def serve(root: Path, params: Params, port: int, browse: bool) -> None:
    """Serve until Ctrl+C or SIGTERM; `port` 0 takes a free one. Raises UserError if it is taken."""
    ended = asyncio.Event()
    with suppress(NotImplementedError):  # Windows, where Ctrl+C raises KeyboardInterrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
    review = ReviewSession(root, params, History(root / REVIEW))
    runner = web.AppRunner(review.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            raise UserError(
                f"port {port}: expected a free one, got: {error.strerror}; choose another one, or"
                " none for any that is free"
            ) from error
        review.port = runner.addresses[0][1]
        total = sum(count["total"] for count in review.items.counts().values())
        logger.info(
            "review: %d items. Open %s\nEvery decision is saved at once in %s; `dvc repro` applies"
            " them. Ctrl+C ends the review.",
            total, review.url(review.token), REVIEW,
        )  # fmt: skip
        if browse and has_screen():
            review.one_time_token = secrets.token_urlsafe(32)
            await asyncio.to_thread(webbrowser.open, review.url(review.one_time_token))
        await ended.wait()
    finally:
        await runner.cleanup()


def has_screen() -> bool:
    """Return whether a browser has somewhere to open; a text browser would take the terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in screens)
