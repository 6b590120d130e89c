"""Fetching many URLs at once, politely and suspiciously; each body becomes a file, or a reason.

At most `per_host` connections to one host and CONNECTIONS in all. 429, 5xx, resets, timeouts and
bodies that end early are tried again after growing, jittered delays; Retry-After is obeyed for the
whole host. A host that never answers is given up. Addresses are checked after resolving, and again
after every redirect, and the connection goes to the very address that was checked.
"""

import asyncio
import ipaddress
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from socket import AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from stages.lib.files import unfinished
from stages.lib.params import DownloadParams
from stages.sources.records import Unreadable
from stages.sources.weblist import body_name

CONNECTIONS = 64  # open at a time over all hosts
FIRST_DELAY_S = 0.5  # doubled at every try
MAX_DELAY_S = 60.0
MAX_RETRY_AFTER_S = 120.0  # a server that asks for more gets its URL failed until the next run
PATIENCE = 15  # × timeout_s: the longest that one body may take, however slowly it drips
MAX_REDIRECTS = 5
GIVE_UP_AFTER = 8  # URLs in a row that a host did not answer
HEADERS = {"User-Agent": "darkroom (builds image data sets)", "Accept": "image/*,*/*;q=0.5"}
_UNANSWERED = {"timeout", "connection_failed", "unknown_host"}


class Transient(Exception):
    """A failure that may pass: tried again, after `retry_after` seconds if the server said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        """Keep the reason that the record gets when no try is left."""
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


@dataclass
class _Host:
    """What is known about one host during a run."""

    urls: Iterator[str]
    silent: int = 0  # URLs in a row without an answer
    answered: bool = False
    last_reason: str = ""
    not_before: float = 0.0  # the loop's time at which Retry-After ends
    failures: dict[str, str] = field(default_factory=dict)


def fetch_all(
    urls: list[str], folder: Path, params: DownloadParams, advance: Callable[[int], None]
) -> dict[str, str]:
    """Fetch each URL into `folder / body_name(url)`, unless it is there. Return url → reason."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [url for url in dict.fromkeys(urls) if not (folder / body_name(url)).exists()]
    advance(len(urls) - len(missing))
    return asyncio.run(_fetch_all(missing, folder, params, advance)) if missing else {}


async def _fetch_all(
    urls: list[str], folder: Path, params: DownloadParams, advance: Callable[[int], None]
) -> dict[str, str]:
    by_host: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        by_host[_host(url)].append(url)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=params.timeout_s, sock_read=params.timeout_s
    )
    connector = aiohttp.TCPConnector(limit=0, resolver=Resolver(params.allow_private_hosts))
    gate = asyncio.Semaphore(CONNECTIONS)
    hosts = [_Host(iter(waiting)) for waiting in by_host.values()]
    async with (
        aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session,
        asyncio.TaskGroup() as group,
    ):  # fmt: skip
        for host, waiting in zip(hosts, by_host.values(), strict=True):
            for _ in range(min(params.per_host, len(waiting))):
                group.create_task(_work(session, host, folder, params, gate, advance))
    return {url: reason for host in hosts for url, reason in host.failures.items()}


def _host(url: str) -> str:
    try:
        return f"{URL(url).host}:{URL(url).port}"
    except ValueError:
        return ""


async def _work(
    session: aiohttp.ClientSession, host: _Host, folder: Path, params: DownloadParams,
    gate: asyncio.Semaphore, advance: Callable[[int], None],
) -> None:  # fmt: skip
    """Take the host's URLs one by one; several of these run for one host."""
    for url in host.urls:
        if host.silent >= GIVE_UP_AFTER and not host.answered:
            host.failures[url] = host.last_reason
        else:
            try:
                await _fetch(session, url, folder / body_name(url), host, params, gate)
                host.answered = True
            except Unreadable as failure:
                host.failures[url] = host.last_reason = failure.reason
                host.silent += failure.reason in _UNANSWERED
                host.answered |= failure.reason not in _UNANSWERED
        advance(1)


async def _fetch(
    session: aiohttp.ClientSession, url: str, target: Path, host: _Host, params: DownloadParams,
    gate: asyncio.Semaphore,
) -> None:  # fmt: skip
    """Fetch one URL with retries. Raises Unreadable."""
    loop = asyncio.get_running_loop()
    for attempt in range(params.retries + 1):
        await asyncio.sleep(max(0.0, host.not_before - loop.time()))
        try:
            async with gate:
                await _try(session, url, target, params)
            return
        except Transient as failure:
            wait = delay(attempt, failure.retry_after, random.random())
            if attempt == params.retries or wait is None:
                raise Unreadable(failure.reason) from failure
            if failure.retry_after is not None:
                host.not_before = max(host.not_before, loop.time() + wait)
            await asyncio.sleep(wait)


def delay(attempt: int, retry_after: float | None, jitter: float) -> float | None:
    """Return the seconds to wait before the next try, `jitter` in [0, 1]; None to give up."""
    growing = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0**attempt) * (0.5 + jitter)
    if retry_after is None:
        return growing
    return None if retry_after > MAX_RETRY_AFTER_S else max(retry_after, growing)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or a date (RFC 9110)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


async def _try(
    session: aiohttp.ClientSession, url: str, target: Path, params: DownloadParams
) -> None:
    """Fetch once, translating what aiohttp raises. Raises Transient or Unreadable."""
    try:
        async with asyncio.timeout(PATIENCE * params.timeout_s):
            await _follow(session, URL(url), target, params)
    except TimeoutError as error:
        raise Transient("timeout") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise Unreadable("bad_certificate") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise Transient("unknown_host") from error
    except aiohttp.ClientPayloadError as error:
        raise Transient("incomplete") from error
    except (aiohttp.ClientConnectionError, ConnectionError) as error:
        raise Transient("connection_failed") from error
    except (aiohttp.InvalidURL, ValueError) as error:
        raise Unreadable("bad_url") from error
    except aiohttp.ClientError as error:
        raise Unreadable("bad_response") from error
    finally:
        unfinished(target).unlink(missing_ok=True)


async def _follow(
    session: aiohttp.ClientSession, url: URL, target: Path, params: DownloadParams
) -> None:
    for _ in range(MAX_REDIRECTS + 1):
        _check_url(url, params.allow_private_hosts)
        async with session.get(url, allow_redirects=False) as response:
            location = response.headers.get("Location")
            if 300 <= response.status < 400 and location:
                url = url.join(URL(location))
                continue
            _check_status(response)
            await _save(response, target, params.max_file_bytes)
            return
    raise Unreadable("too_many_redirects")


def _check_url(url: URL, allow_private: bool) -> None:
    """Refuse other schemes, and addresses written out, which are never resolved."""
    if url.scheme not in {"http", "https"} or not url.host:
        raise Unreadable("bad_url")
    try:
        public = is_public(url.host)
    except ValueError:
        return  # a name: the resolver checks what it stands for
    if not (public or allow_private):
        raise Unreadable("private_address")


def _check_status(response: aiohttp.ClientResponse) -> None:
    if response.status == 429 or response.status >= 500:
        asked = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        raise Transient(f"http_{response.status}", asked)
    if response.status != 200:
        raise Unreadable(f"http_{response.status}")


async def _save(response: aiohttp.ClientResponse, target: Path, max_bytes: int) -> None:
    if (response.content_length or 0) > max_bytes:
        raise Unreadable("too_large")
    size, temporary = 0, unfinished(target)
    with temporary.open("wb") as handle:
        async for chunk in response.content.iter_chunked(2**16):
            size += len(chunk)
            if size > max_bytes:
                raise Unreadable("too_large")
            handle.write(chunk)
        handle.flush()
        await asyncio.to_thread(os.fsync, handle.fileno())
    temporary.replace(target)


def is_public(address: str) -> bool:
    """Return whether an IP address is on the public internet. Raises ValueError for a name."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if hidden:
            return is_public(str(hidden))
    return ip.is_global and not ip.is_multicast


class Resolver(AbstractResolver):
    """Resolves names, and refuses those that stand for a private address."""

    def __init__(self, allow_private: bool) -> None:
        """Use the system's resolver, in threads."""
        self._resolver = aiohttp.ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises Unreadable when one is private."""
        found = await self._resolver.resolve(host, port, family)
        if not self._allow_private and not all(is_public(result["host"]) for result in found):
            raise Unreadable("private_address")
        return found

    async def close(self) -> None:
        """Release what the system's resolver holds."""
        await self._resolver.close()
