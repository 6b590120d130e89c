"""Receiving one body: bounded in bytes and time, decoded, resumed where it broke off.

What comes is held in memory up to SPILL_BYTES, from there on in a part on disk. The part outlives a
break of the connection if the server named a validator under which it would send the rest: a strong
ETag, or a Last-Modified that is old enough to be one (RFC 9110, 8.8 and 14).
"""

import re
import zlib
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import NamedTuple

import aiohttp

from darkroom.core.params.download import DownloadParams
from darkroom.core.shards import key_of
from darkroom.sources.entries import Unreadable
from darkroom.sources.http.checksums import Checksum
from darkroom.sources.http.errors import Transient
from darkroom.sources.store.journal import Journal, Outcome, PartialBody

SPILL_BYTES = 2**18  # × CONNECTIONS is held at most
MIN_RATE = 1024  # bytes per second, over each timeout_s: below this a server drips
_OLD_ENOUGH = timedelta(seconds=60)  # a file may change twice in the second that a date names
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class Job(NamedTuple):
    """One URL to fetch."""

    digest: str  # by which the journal knows it
    url: str  # may hold credentials: never written to a table, a log or the journal
    checksum: Checksum | None = None


class Inflater:
    """A body that was compressed although none was accepted; never more is inflated than fits."""

    def __init__(self, encoding: str) -> None:
        """Begin to decode `gzip` or `deflate`. Raises Unreadable for other encodings."""
        if encoding not in _WINDOW_BITS:
            raise Unreadable("unknown_encoding")
        self._stream = zlib.decompressobj(_WINDOW_BITS[encoding])

    def feed(self, chunk: bytes, room: int) -> bytes:
        """Return what the chunk holds, at most one byte more than `room`."""
        try:
            return self._stream.decompress(chunk, room + 1)
        except zlib.error as error:
            raise Unreadable("bad_encoding") from error

    def end(self) -> None:
        """Raise when the stream breaks off, or goes on after its end."""
        if not self._stream.eof:
            raise Transient("incomplete")
        if self._stream.unused_data:
            raise Unreadable("bad_encoding")


def request_headers(part: PartialBody) -> dict[str, str]:
    """Return what asks for the rest of a part, if there is one."""
    if not part.size or not part.validator:
        return {}
    return {"Range": f"bytes={part.size}-", "If-Range": part.validator}


def validator_of(headers: Mapping[str, str]) -> str | None:
    """Return what identifies exactly these bytes at the server: a strong ETag, or an old date."""
    etag = headers.get("ETag", "")
    if re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag):
        return etag
    changed = headers.get("Last-Modified", "")
    try:
        said, then = (parsedate_to_datetime(d) for d in (headers.get("Date", ""), changed))
        return changed if not etag and said - then >= _OLD_ENOUGH else None
    except (ValueError, TypeError, OverflowError):  # a day or zone of twenty digits
        return None


def check_range(headers: Mapping[str, str], size: int, total: int | None, validator: str) -> bool:
    """Return whether a 206 sends the rest of the very body of which `size` bytes are here."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not match:
        return False
    first, last = int(match[1]), int(match[2])
    whole = total if match[3] == "*" else int(match[3])
    return (
        first == size
        and first <= last
        and (whole is None or last < whole)
        and total in {None, whole}
        and headers.get("Content-Length", str(last - first + 1)) == str(last - first + 1)
        # requested by date, an ETag that comes only now says nothing
        and (validator[0] != '"' or headers.get("ETag", validator) == validator)
    )


async def receive(
    response: aiohttp.ClientResponse, job: Job, part: PartialBody, journal: Journal,
    params: DownloadParams,
) -> Outcome:  # fmt: skip
    """Take the body of a 200, or the rest of it of a 206, into the journal.

    Raises Unreadable or Transient; what was received before a break stays in the part.
    """
    if response.status != 206:
        part.drop()
    elif not part.validator or not check_range(
        response.headers, part.size, part.total, part.validator
    ):
        part.drop()
        raise Transient("bad_range")
    if part.size + (response.content_length or 0) > params.max_file_bytes:
        part.drop()
        raise Unreadable("too_large")
    resumed, buffered = part.size > 0, bytearray()
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    plain = encoding in {"", "identity"}
    inflater = None if plain else Inflater(encoding)
    validator = validator_of(response.headers) if plain and not resumed else None
    total = part.total if resumed else response.content_length

    def spill() -> None:
        if part.validator is None:
            part.start(validator or "", total)
        if buffered:
            part.append(bytes(buffered))
            buffered.clear()

    try:
        rate = _MinRate(params.timeout_s)
        async for chunk in response.content.iter_any():
            rate.check(len(chunk))
            room = params.max_file_bytes - part.size - len(buffered)
            buffered += chunk if inflater is None else inflater.feed(chunk, room)
            if part.size + len(buffered) > params.max_file_bytes:
                part.drop()
                raise Unreadable("too_large")
            if len(buffered) >= SPILL_BYTES:
                spill()
        if inflater is not None:
            inflater.end()
        elif total is not None and part.size + len(buffered) < total:
            raise Transient("incomplete")
    except Unreadable:
        raise
    except BaseException:  # a break, a timeout or a stop: what can be resumed stays
        if part.validator or validator:
            spill()
        else:
            part.drop()
        raise
    return _keep(job, part, bytes(buffered), journal, resumed)


def _keep(job: Job, part: PartialBody, rest: bytes, journal: Journal, resumed: bool) -> Outcome:
    """Check and store a whole body."""
    whole, content = part.validator is not None, rest
    if whole:
        part.append(rest)
        content = part.read()
    if job.checksum is not None and not job.checksum.matches(content):
        part.drop()
        # Of a resumed body the halves may not belong together: once more, from the start.
        raise Transient("wrong_checksum") if resumed else Unreadable("wrong_checksum")
    location = journal.complete(job.digest, part) if whole else journal.put(content)
    return Outcome(key_of(content), None, location)


class _MinRate:
    """Refuses a body that drips: fewer than MIN_RATE bytes per second over each timeout."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since, self._bytes = monotonic(), 0

    def check(self, received: int) -> None:
        """Count what was received. Raises Transient."""
        self._bytes += received
        elapsed = monotonic() - self._since
        if elapsed >= self._timeout_s:
            if self._bytes < MIN_RATE * elapsed:
                raise Transient("too_slow")
            self._since, self._bytes = monotonic(), 0
