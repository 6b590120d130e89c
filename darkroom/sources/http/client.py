"""The HTTP client: one session, and requests that follow redirects suspiciously.

Addresses are checked after resolving, and again after every redirect, and the connection goes to
the very address that was checked. Neither proxies nor `.netrc` of the environment are used, no
cookies are kept, certificates are verified. What a server forbids by X-Robots-Tag is refused. What
goes wrong is a Transient, which may pass, or an Unreadable, which does not.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
from yarl import URL

from darkroom.core.params.download import DownloadParams
from darkroom.sources.entries import Unreadable
from darkroom.sources.http.addresses import Resolver, check_url
from darkroom.sources.http.errors import Transient, translated
from darkroom.sources.http.retry_policy import parse_retry_after
from darkroom.sources.http.robots import forbids_use

MAX_REDIRECTS = 5
HEADERS_TIMEOUTS = 2  # × timeout_s: the longest until the body begins
_TRANSIENT = {408, 429}  # and 5xx
_DRAINED_BYTES = 2**14  # a refusal of at most this size is read, so that the connection stays


class Client:
    """A session with one set of settings; to be used as a context."""

    def __init__(
        self, params: DownloadParams, accept: str = "*/*", total_timeout_s: float | None = None,
        auto_decompress: bool = True,
    ) -> None:  # fmt: skip
        """Set what is accepted, and how long one request may take with all its redirects."""
        self._params, self._accept, self._total_timeout_s = params, accept, total_timeout_s
        self._auto_decompress = auto_decompress
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the session."""
        timeout_s = self._params.timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=self._params.per_host,  # redirects count where they lead
                resolver=Resolver(self._params.allow_private_hosts),
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=timeout_s, sock_read=timeout_s
            ),
            headers={
                "User-Agent": self._params.user_agent, "Accept": self._accept,
                "Accept-Encoding": "identity",  # a packed body would not fit its ranges
            },
            auto_decompress=self._auto_decompress, trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_pause_while_queued(HEADERS_TIMEOUTS * timeout_s)],
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        await self._session.close()

    @asynccontextmanager
    async def request(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the response that is no redirect any more; its body may be read in the context.

        Raises Transient or Unreadable, also for what goes wrong in the context.
        """
        with translated():
            async with asyncio.timeout(self._total_timeout_s):
                response = await self._follow(method, URL(url), headers)
                async with response:
                    yield response

    async def _follow(
        self, method: str, url: URL, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        for _ in range(MAX_REDIRECTS + 1):
            url = check_url(url, self._params.allow_private_hosts)
            # The headers have to come soon; a body may take longer, as long as it comes.
            async with asyncio.timeout(HEADERS_TIMEOUTS * self._params.timeout_s) as timeout:
                response = await self._session.request(
                    method, url, allow_redirects=False, headers=headers, trace_request_ctx=timeout
                )
            location = response.headers.get("Location")
            if not (300 <= response.status < 400 and location):
                return response
            async with response:
                await drain(response)
            url = url.join(URL(location))
        raise Unreadable("too_many_redirects")

    def check_robots_tag(self, response: aiohttp.ClientResponse) -> None:
        """Raise Unreadable where the server forbids the use in a data set."""
        tags = response.headers.getall("X-Robots-Tag", [])
        if self._params.obey_robots_tag and forbids_use(tags, self._params.user_agent):
            raise Unreadable("robots_tag")


def status_error(response: aiohttp.ClientResponse) -> Transient | Unreadable:
    """Return the error that a refusing status means."""
    reason = f"http_{response.status}"
    if response.status not in _TRANSIENT and response.status < 500:
        return Unreadable(reason)
    retry_after = response.headers.get("Retry-After")
    return Transient(reason, parse_retry_after(retry_after, datetime.now(UTC)))


async def drain(response: aiohttp.ClientResponse) -> None:
    """Read a short refusal to its end: then the connection serves the next request."""
    if response.content_length is not None and response.content_length <= _DRAINED_BYTES:
        await response.read()


def _pause_while_queued(headers_timeout_s: float) -> aiohttp.TraceConfig:
    """Stop the timeout of a request that waits for us: many redirects may lead to one host."""

    async def stop(_session: object, request: Any, _event: object) -> None:
        if not request.trace_request_ctx.expired():
            request.trace_request_ctx.reschedule(None)

    async def start(_session: object, request: Any, _event: object) -> None:
        if not request.trace_request_ctx.expired():
            now = asyncio.get_running_loop().time()
            request.trace_request_ctx.reschedule(now + headers_timeout_s)

    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(stop)
    trace.on_connection_queued_end.append(start)
    return trace
