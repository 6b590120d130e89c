"""Fetching many URLs at once, politely and suspiciously; each is a body in the journal or a reason.

At most `per_host` connections to one host and CONNECTIONS in all, in the list's order. 429, 5xx,
resets, timeouts and bodies that end early are tried again after growing, jittered delays;
Retry-After is obeyed for the whole host; a body that broke off goes on where it stopped. A host
that does not answer is given up. Addresses are checked after resolving, and again after every
redirect, and the connection goes to the very address that was checked. Neither proxies nor `.netrc`
of the environment are used, no cookies are kept, certificates are verified.

The network has a thread of its own, so that a shard that is being written keeps no host waiting.
"""

import asyncio
import random
import resource
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import aiohttp
from yarl import URL

from darkroom.core.params.download import DownloadParams
from darkroom.sources.entries import Unreadable
from darkroom.sources.http import retry_policy
from darkroom.sources.http.addresses import Resolver, check_url
from darkroom.sources.http.errors import Transient, translated
from darkroom.sources.http.response import Job, Limits, receive, request_headers
from darkroom.sources.http.schedule import UNANSWERED, Schedule
from darkroom.sources.store.journal import Journal, Outcome, Part

# Open at a time over all hosts; as many files again may be open for other reasons.
CONNECTIONS = min(256, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))
LOOK_UPS = 32  # names resolved at a time
PATIENCE = 15  # × timeout_s: the longest that one try may take
HEADERS_PATIENCE = 2  # × timeout_s: the longest until the body begins
MAX_REDIRECTS = 5
_DRAINED_BYTES = 2**14  # a refusal of at most this size is read, so that the connection stays
_OK = {200, 206}
_BREAKS = {"incomplete", "too_slow", "bad_range", "bad_response", "http_429"}

Done = tuple[int, Outcome]  # position and outcome


def is_transient(reason: str) -> bool:
    """Return whether the same URL may well give its image some other time."""
    passing = reason in UNANSWERED | _BREAKS
    return passing or reason.startswith("http_5")


def fetch_all(
    jobs: Sequence[Job], journal: Journal, params: DownloadParams, advance: Callable[[int], None]
) -> Generator[Outcome, None, None]:
    """Fetch each job; yield what became of it, in the jobs' order."""
    if not jobs:
        return
    done: SimpleQueue[Done | BaseException] = SimpleQueue()
    run = _Run(jobs, journal, params, done)
    thread = threading.Thread(target=run.run, name="fetch")
    thread.start()
    try:
        early: dict[int, Outcome] = {}  # ended before others that stand before them
        for position in range(len(jobs)):
            while position not in early:
                news = done.get()
                if isinstance(news, BaseException):
                    raise news
                early[news[0]] = news[1]
                advance(1)
            yield early.pop(position)
    finally:
        run.stop()
        thread.join()


class _Run:
    """One event loop that fetches; `run` is the body of its thread."""

    def __init__(
        self, jobs: Sequence[Job], journal: Journal, params: DownloadParams,
        done: "SimpleQueue[Done | BaseException]",
    ) -> None:  # fmt: skip
        self.jobs, self.journal, self.params, self.done = jobs, journal, params, done
        self.schedule = Schedule((_host(job.url) for job in jobs), params.per_host)
        self.limits = Limits(params.max_file_bytes, params.timeout_s)
        self.attempts: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event
        self._stopping = threading.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._session: aiohttp.ClientSession

    def run(self) -> None:
        """Fetch everything; what goes wrong with us rather than with a URL is handed over."""
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self.done.put(error)

    def stop(self) -> None:
        """End early, from another thread."""
        self._stopping.set()
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._ended.set)
            except RuntimeError:
                return  # it has ended by itself

    async def _main(self) -> None:
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(LOOK_UPS, "resolve"))
        timeout_s = self.params.timeout_s
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=self.params.per_host,  # redirects count where they lead
                resolver=Resolver(self.params.allow_private_hosts),
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=timeout_s, sock_read=timeout_s
            ),
            headers={
                "User-Agent": self.params.user_agent, "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",
            },
            auto_decompress=False, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[self._fair_clock()],
        ) as self._session:  # fmt: skip
            self._pump()
            if not self._stopping.is_set():
                await self._ended.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pump(self) -> None:
        """Start what is due while there are places, and come back when more will be."""
        loop = asyncio.get_running_loop()
        while len(self._tasks) < CONNECTIONS:
            position = self.schedule.take(loop.time())
            if position is None:
                break
            task = loop.create_task(self._work(position))
            self._tasks.add(task)
            task.add_done_callback(self._worked)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self.schedule.next_due()
        if due is not None:
            self._alarm = loop.call_at(due, self._pump)

    def _worked(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.done.put(error)
            self._ended.set()
        elif self.schedule.unfinished == 0:
            self._ended.set()
        elif not self._ended.is_set():
            self._pump()

    async def _work(self, position: int) -> None:
        """Try one URL once; it ends with an outcome, or comes again later."""
        job, host = self.jobs[position], self.schedule.host(position)
        try:
            if host.given_up is not None:
                raise Unreadable(host.given_up)
            outcome = await self._attempt(job)
            host.learn(None)
        except Transient as failure:
            attempt = self.attempts.get(position, 0)
            wait = retry_policy.delay(attempt, failure.retry_after, random.random())
            if wait is not None and attempt < self.params.retries:
                self.attempts[position] = attempt + 1
                until = asyncio.get_running_loop().time() + wait
                if failure.retry_after is not None:
                    host.not_before = max(host.not_before, until)
                self.schedule.postpone(position, until)
                return
            host.learn(failure.reason)
            outcome = Outcome(None, failure.reason)
        except Unreadable as failure:
            host.learn(failure.reason)
            outcome = Outcome(None, failure.reason)
        self.attempts.pop(position, None)
        if outcome.key is None:
            self.journal.part(job.digest).drop()
        self.journal.note(job.digest, outcome)
        self.schedule.finish(position)
        self.done.put((position, outcome))

    async def _attempt(self, job: Job) -> Outcome:
        """Fetch once. Raises Transient or Unreadable."""
        with translated():
            async with asyncio.timeout(PATIENCE * self.params.timeout_s):
                return await self._follow(job)

    async def _follow(self, job: Job) -> Outcome:
        url, part = URL(job.url), self.journal.part(job.digest)
        for _ in range(MAX_REDIRECTS + 1):
            url = check_url(url, self.params.allow_private_hosts)
            # The headers have to come soon; a body may take longer, as long as it comes.
            async with asyncio.timeout(HEADERS_PATIENCE * self.params.timeout_s) as clock:
                response = await self._session.get(
                    url, allow_redirects=False, headers=request_headers(part),
                    trace_request_ctx=clock,
                )  # fmt: skip
            async with response:
                location = response.headers.get("Location")
                if 300 <= response.status < 400 and location:
                    await _drain(response)
                    url = url.join(URL(location))
                    continue
                await self._check(response, part)
                return await receive(response, job, part, self.journal, self.limits)
        raise Unreadable("too_many_redirects")

    def _fair_clock(self) -> aiohttp.TraceConfig:
        """Stop the clock of a request that waits for us: many redirects may lead to one host."""

        async def stop(_session: object, request: Any, _event: object) -> None:
            if not request.trace_request_ctx.expired():
                request.trace_request_ctx.reschedule(None)

        async def start(_session: object, request: Any, _event: object) -> None:
            now = asyncio.get_running_loop().time()
            if not request.trace_request_ctx.expired():
                request.trace_request_ctx.reschedule(now + HEADERS_PATIENCE * self.params.timeout_s)

        trace = aiohttp.TraceConfig()
        trace.on_connection_queued_start.append(stop)
        trace.on_connection_queued_end.append(start)
        return trace

    async def _check(self, response: aiohttp.ClientResponse, part: Part) -> None:
        """Refuse what is no image for us, by status and by what the server asks."""
        status = response.status
        if status not in _OK:
            await _drain(response)
        if status == 416 and part.size:
            part.drop()  # shorter than what we have: another file by now
            raise Transient("bad_range")
        if status == 429 or status >= 500:
            asked = response.headers.get("Retry-After")
            raise Transient(
                f"http_{status}", retry_policy.parse_retry_after(asked, datetime.now(UTC))
            )
        if status not in _OK:
            raise Unreadable(f"http_{status}")
        tags = response.headers.getall("X-Robots-Tag", [])
        if self.params.obey_robots_tag and retry_policy.forbids(tags, self.params.user_agent):
            raise Unreadable("robots_tag")


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short refusal to its end: then the connection serves the next URL."""
    if response.content_length is not None and response.content_length <= _DRAINED_BYTES:
        await response.read()


def _host(url: str) -> str:
    try:
        return f"{URL(url).host}:{URL(url).port}"
    except ValueError:
        return ""
