"""Which URL is fetched next: in the list's order, some per host, later where a host says to wait.

Nothing here waits or fetches; times are given by the caller. A URL is known by its position.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

GIVE_UP_AT_ONCE = 8  # URLs in a row without an answer, from a host that never gave one
GIVE_UP_LATER = 32  # the same, from a host that did
UNANSWERED = frozenset({"timeout", "connection_failed", "unknown_host"})
REFUSED = frozenset({"http_429", "http_503"})  # the whole host says no; it answers, though


@dataclass(slots=True)
class Host:
    """What is known about one host during a run."""

    waiting: deque[int] = field(default_factory=deque)
    active: int = 0
    not_before: float = 0.0  # when Retry-After ends
    queued: bool = False  # stands in one of the schedule's heaps
    silent: int = 0  # URLs in a row without an answer
    answered: bool = False
    given_up: str | None = None  # the reason for every URL that is left

    def record(self, reason: str | None) -> None:
        """Record how one URL ended; None is success."""
        if reason not in UNANSWERED and reason not in REFUSED:
            self.answered, self.silent = True, 0
            return
        self.answered |= reason in REFUSED
        self.silent += 1
        if self.silent >= (GIVE_UP_LATER if self.answered else GIVE_UP_AT_ONCE):
            self.given_up = reason


class Schedule:
    """Hands out positions; each is given back with `release`, to come again with `postpone`."""

    def __init__(self, hosts: Iterable[str], per_host: int) -> None:
        """Plan one position per element of `hosts`, the name of its host."""
        self.per_host = per_host
        by_name: dict[str, Host] = {}
        self._host_of: list[Host] = []
        self._ready: list[tuple[int, int, Host]] = []
        self._timers: list[tuple[float, int, Host, int | None]] = []
        self._tie = count()
        for position, name in enumerate(hosts):
            host = by_name.setdefault(name, Host())
            host.waiting.append(position)
            self._host_of.append(host)
        self.unfinished = len(self._host_of)
        for host in by_name.values():
            self._offer(host)

    def host(self, position: int) -> Host:
        """Return the host of this position."""
        return self._host_of[position]

    def take(self, now: float) -> int | None:
        """Return the next position to fetch, None when nothing is due."""
        while self._timers and self._timers[0][0] <= now:
            self._wake(*heapq.heappop(self._timers)[2:])
        while self._ready:
            _, _, host = heapq.heappop(self._ready)
            if host.not_before > now and host.given_up is None:
                heapq.heappush(self._timers, (host.not_before, next(self._tie), host, None))
                continue
            host.queued = False
            position = host.waiting.popleft()
            host.active += 1
            self._offer(host)
            return position
        return None

    def next_due(self) -> float | None:
        """Return the time at which something waits to be taken again."""
        return self._timers[0][0] if self._timers else None

    def finish(self, position: int) -> None:
        """Count a position as done for good."""
        self.unfinished -= 1
        self._release(position)

    def postpone(self, position: int, until: float) -> None:
        """Let a position come again at that time; meanwhile another may take its connection."""
        self._release(position)
        host = self._host_of[position]
        heapq.heappush(self._timers, (until, next(self._tie), host, position))

    def _release(self, position: int) -> None:
        host = self._host_of[position]
        host.active -= 1
        self._offer(host)

    def _wake(self, host: Host, position: int | None) -> None:
        if position is None:
            host.queued = False
        else:
            host.waiting.appendleft(position)
        self._offer(host)

    def _offer(self, host: Host) -> None:
        """Queue a host that has something waiting and a connection free."""
        if host.waiting and host.active < self.per_host and not host.queued:
            host.queued = True
            heapq.heappush(self._ready, (host.waiting[0], next(self._tie), host))
