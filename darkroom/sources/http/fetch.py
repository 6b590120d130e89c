"""Fetching many URLs at once; each becomes a body in the journal, or a reason.

At most `per_host` connections to one host and CONNECTIONS in all, in the list's order. 408, 429,
5xx, resets, timeouts and bodies that end early are tried again after growing, jittered delays;
Retry-After holds for the whole host; a body that broke off is resumed. A host that does not answer
is given up.

The network has a thread of its own, so that a shard that is being written keeps no host waiting.
"""

import asyncio
import random
import resource
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from yarl import URL

from darkroom.core.params.download import DownloadParams
from darkroom.sources.entries import Unreadable
from darkroom.sources.http import retry_policy
from darkroom.sources.http.client import Client, drain, status_error
from darkroom.sources.http.errors import Transient
from darkroom.sources.http.response import Job, receive, request_headers
from darkroom.sources.http.schedule import UNANSWERED, Schedule
from darkroom.sources.store.journal import Journal, Outcome

# Open at a time over all hosts; as many files again may be open for other reasons.
CONNECTIONS = min(256, max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))
RESOLVER_THREADS = 32  # names resolved at a time
TOTAL_TIMEOUTS = 15  # × timeout_s: the longest that one try may take
_TRANSIENT = {"incomplete", "too_slow", "bad_range", "bad_response", "http_408", "http_429"}

Done = tuple[int, Outcome]  # position and outcome


def is_transient(reason: str) -> bool:
    """Return whether the same URL may well give its image some other time."""
    return reason in UNANSWERED | _TRANSIENT or reason.startswith("http_5")


def fetch_all(
    jobs: Sequence[Job], journal: Journal, params: DownloadParams, advance: Callable[[int], None]
) -> Generator[Outcome, None, None]:
    """Fetch each job; yield what became of it, in the jobs' order."""
    if not jobs:
        return
    done: SimpleQueue[Done | BaseException] = SimpleQueue()
    run = _FetchLoop(jobs, journal, params, done)
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


class _FetchLoop:
    """One event loop that fetches; `run` is the body of its thread."""

    def __init__(
        self, jobs: Sequence[Job], journal: Journal, params: DownloadParams,
        done: "SimpleQueue[Done | BaseException]",
    ) -> None:  # fmt: skip
        self.jobs, self.journal, self.params, self.done = jobs, journal, params, done
        self.schedule = Schedule((_host(job.url) for job in jobs), params.per_host)
        self.attempts: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event
        self._stopping = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._client: Client

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
        self._loop.set_default_executor(ThreadPoolExecutor(RESOLVER_THREADS, "resolve"))
        async with Client(
            self.params, "image/*,*/*;q=0.5", TOTAL_TIMEOUTS * self.params.timeout_s,
            auto_decompress=False,
        ) as self._client:  # fmt: skip
            self._start_due()
            if not self._stopping.is_set():
                await self._ended.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_due(self) -> None:
        """Start what is due while there are places, and come back when more will be."""
        loop = asyncio.get_running_loop()
        while len(self._tasks) < CONNECTIONS:
            position = self.schedule.take(loop.time())
            if position is None:
                break
            task = loop.create_task(self._try(position))
            self._tasks.add(task)
            task.add_done_callback(self._on_done)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.schedule.next_due()
        if due is not None:
            self._timer = loop.call_at(due, self._start_due)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.done.put(error)
            self._ended.set()
        elif self.schedule.unfinished == 0:
            self._ended.set()
        elif not self._ended.is_set():
            self._start_due()

    async def _try(self, position: int) -> None:
        """Try one URL once; it ends with an outcome, or comes again later."""
        job, host = self.jobs[position], self.schedule.host(position)
        try:
            if host.given_up is not None:
                raise Unreadable(host.given_up)
            outcome = await self._attempt(job)
        except Transient as failure:
            attempt = self.attempts[position]
            wait = retry_policy.delay(attempt, failure.retry_after, random.random())
            if wait is not None and attempt < self.params.retries:
                self.attempts[position] = attempt + 1
                until = asyncio.get_running_loop().time() + wait
                if failure.retry_after is not None:
                    host.not_before = max(host.not_before, until)
                self.schedule.postpone(position, until)
                return
            outcome = Outcome(None, failure.reason)
        except Unreadable as failure:
            outcome = Outcome(None, failure.reason)
        host.record(outcome.reason)
        self.attempts.pop(position, None)
        if outcome.key is None:
            self.journal.part(job.digest).drop()
        self.journal.record(job.digest, outcome)
        self.schedule.finish(position)
        self.done.put((position, outcome))

    async def _attempt(self, job: Job) -> Outcome:
        """Fetch once. Raises Transient or Unreadable."""
        part = self.journal.part(job.digest)
        async with self._client.request("GET", job.url, request_headers(part)) as response:
            if response.status not in {200, 206}:
                await drain(response)
                if response.status == 416 and part.size:
                    part.drop()  # shorter than what we have: another file by now
                    raise Transient("bad_range")
                raise status_error(response)
            self._client.check_robots_tag(response)
            return await receive(response, job, part, self.journal, self.params)


def _host(url: str) -> str:
    try:
        return f"{URL(url).host}:{URL(url).port}"
    except ValueError:
        return ""
