"""The entries of a list of URLs, in its order: stored before, failed before, or fetched now.

A URL that was fetched is never fetched again; one that failed in a finished run keeps its reason,
until `make retry` takes that away. A run that was stopped is resumed; what failed in it
is tried again if it may pass.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from darkroom.core.params.download import DownloadParams
from darkroom.sources.entries import Entry, refuse
from darkroom.sources.http.fetch import fetch_all, is_transient
from darkroom.sources.http.response import Job
from darkroom.sources.kinds.url_requests import Request
from darkroom.sources.store.journal import Journal, Outcome
from darkroom.sources.store.raw_store import TOTAL_LIMIT, RawStore


class UrlEntries:
    """The requests of one list, fetched while they are read."""

    def __init__(self, requests: list[Request], source: str, params: DownloadParams) -> None:
        """Keep what is to be fetched; `source` is the list's name in tables."""
        self.expected = len(requests)
        self._requests, self._source, self._params = requests, source, params

    def read(
        self, store: RawStore, journal: Journal, advance: Callable[[int], None]
    ) -> Iterator[Entry]:
        """Yield each request as an entry; bodies are dropped when `store` has them in a shard."""
        requests = self._requests
        stored, failed = store.stored_keys(self._source), store.failures(self._source)
        outcomes = _usable(journal, store)
        digests = {
            request.name: request.digest
            for request in requests
            if request.name not in stored and request.name not in failed
        }
        wanted = {
            digest: Job(digest, request.url, request.checksum)
            for request in requests
            if (digest := digests.get(request.name)) is not None and digest not in outcomes
        }
        advance(len(requests) - len(wanted))
        uses = Counter(digests.values())
        fetched = fetch_all(list(wanted.values()), journal, self._params, advance)
        waiting: dict[str, Outcome] = {}  # what is fetched and not in a shard yet
        written = store.writer.written
        try:
            for request in requests:
                digest = digests.get(request.name)
                if digest is None:
                    yield _entry(request, stored.get(request.name), failed.get(request.name))
                    continue
                if store.full:
                    fetched.close()
                    yield _entry(request, None, TOTAL_LIMIT)
                    continue
                outcome = outcomes[digest] if digest in outcomes else next(fetched)
                uses[digest] -= 1
                if uses[digest]:
                    outcomes[digest] = outcome  # the same URL comes again
                if outcome.key is None:
                    yield _entry(request, None, outcome.reason)
                    continue
                load = partial(journal.read, outcome)
                yield Entry(request.name, request.uri, load, outcome.key, request.labels)
                waiting[digest] = outcome
                if written != store.writer.written:
                    written = store.writer.written
                    done = [d for d, each in waiting.items() if store.writer.is_written(each.key)]
                    journal.drop(waiting.pop(each) for each in done)
        finally:
            fetched.close()


def _usable(journal: Journal, store: RawStore) -> dict[str, Outcome]:
    """Return the outcomes of a stopped run that hold now."""
    usable, needed = {}, []
    for digest, outcome in journal.outcomes().items():
        if outcome.key is None:
            if not is_transient(str(outcome.reason)):
                usable[digest] = outcome
        elif outcome.key in store.writer or outcome.key in store.purged:
            usable[digest] = outcome._replace(location=None)
        elif journal.holds(outcome):
            usable[digest] = outcome
            needed.append(outcome)
    journal.adopt(needed)
    return usable


def _entry(request: Request, key: str | None, reason: str | None) -> Entry:
    """Return an entry without bytes: they are stored, or cannot be had."""
    load = partial(refuse, reason or "vanished")
    return Entry(request.name, request.uri, load, key, request.labels)
