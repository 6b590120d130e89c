"""Single large files over http and https: what version a server has, and fetching it with resume.

A server that says nothing for `timeout_s` is tried again. There is no limit to the whole time, as a
large archive takes hours; what has arrived stays, and a later try asks for the rest alone.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiohttp

from darkroom.core.params.download import DownloadParams
from darkroom.sources.entries import Unreadable, Version
from darkroom.sources.http import retry_policy
from darkroom.sources.http.client import Client, status_error
from darkroom.sources.http.errors import Transient

_CHUNK = 2**20
_T = TypeVar("_T")
_NO_HEAD = {403, 405, 501}  # servers and signed URLs that allow GET alone


def probe(urls: list[str], params: DownloadParams) -> dict[str, Version | Unreadable]:
    """Return the version of each URL, or why it cannot be had."""
    gate = asyncio.Semaphore(params.per_host)

    async def one(client: Client, url: str) -> Version | Unreadable:
        async with gate:
            try:
                return await _retry(lambda: _probe(client, url), params)
            except Unreadable as failure:
                return failure

    async def each() -> list[Version | Unreadable]:
        async with Client(params) as client:
            return await asyncio.gather(*(one(client, url) for url in urls))

    return dict(zip(urls, asyncio.run(each()), strict=True))


class Transfer(NamedTuple):
    """One file to be fetched to `target`, which grows while it arrives."""

    url: str
    version: Version  # as `probe` returned it
    target: Path
    max_bytes: int
    on_bytes: Callable[[int], None]  # called with the size of each piece


def fetch_file(transfer: Transfer, params: DownloadParams) -> None:
    """Fetch one file, resuming from what is there if the server still has the same version.

    Raises Unreadable.
    """

    async def fetch() -> None:
        async with Client(params) as client:
            await _retry(lambda: _resume(client, transfer), params, transfer.target)

    asyncio.run(fetch())


async def _probe(client: Client, url: str) -> Version:
    async with client.request("HEAD", url, {}) as response:
        client.check_robots_tag(response)
        if response.status == 200:
            return _version(response, response.content_length)
        if response.status not in _NO_HEAD:
            raise status_error(response)
    async with client.request("GET", url, {"Range": "bytes=0-0"}) as response:
        client.check_robots_tag(response)
        if response.status == 206:
            return _version(response, _whole(response))
        if response.status == 200:
            return _version(response, response.content_length)
        raise status_error(response)


def _version(response: aiohttp.ClientResponse, size: int | None) -> Version:
    headers = response.headers
    return Version(size, headers.get("ETag") or headers.get("Last-Modified") or "")


async def _resume(client: Client, transfer: Transfer) -> None:
    target, token = transfer.target, transfer.version.token
    if not token or token.startswith("W/"):  # the part may be of another version: RFC 9110, 13.1.5
        target.unlink(missing_ok=True)
    have = target.stat().st_size if target.exists() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": token} if have else {}
    async with client.request("GET", transfer.url, headers) as response:
        client.check_robots_tag(response)
        if response.status == 416 and _whole(response) == have:
            return  # all of it is there
        content_range = response.headers.get("Content-Range", "")
        if response.status == 206 and not content_range.startswith(f"bytes {have}-"):
            raise Unreadable("bad_response")
        if have and response.status in {200, 416}:
            target.unlink()  # a server without ranges, or another version by now
            have = 0
        if response.status == 416:
            raise Transient("incomplete")
        if response.status not in {200, 206}:
            raise status_error(response)
        with target.open("ab") as handle:
            async for chunk in response.content.iter_chunked(_CHUNK):
                have += len(chunk)
                if have > transfer.max_bytes:
                    raise Unreadable("too_large")
                handle.write(chunk)
                transfer.on_bytes(len(chunk))
            handle.flush()
            await asyncio.to_thread(os.fsync, handle.fileno())


def _whole(response: aiohttp.ClientResponse) -> int | None:
    size = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


async def _retry(
    call: Callable[[], Awaitable[_T]], params: DownloadParams, growing: Path | None = None
) -> _T:
    """Call until it succeeds; a try after which `growing` is larger does not count."""
    attempt, size = 0, -1
    while True:
        try:
            return await call()
        except Transient as failure:
            now = growing.stat().st_size if growing and growing.exists() else -1
            attempt, size = (1 if now > size else attempt + 1), max(size, now)
            wait = retry_policy.delay(attempt, failure.retry_after, random.random())
            if attempt > params.retries or wait is None:
                raise Unreadable(failure.reason) from failure
            await asyncio.sleep(wait)
