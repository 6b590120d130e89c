"""Errors that a user can act on: expected, got, where, what to do."""

import errno
import re
from collections import Counter
from collections.abc import Iterable, Mapping

LONGEST = 200  # characters of a name in a message


class UserError(Exception):
    """A setting or an input stops the stage; the message says what to do. Shown without a trace."""


def stop_if_too_many(
    stage: str,
    parameter: str,
    failures: Iterable[tuple[str, str]],
    total: int,
    allowed: float,
    meanings: Mapping[str, str] | None = None,
) -> None:
    """Raise UserError when more than `allowed` of `total` failed.

    `failures` are (reason, image); the ten commonest reasons are told with an image of each.
    """
    counts, examples = Counter[str](), dict[str, str]()
    for reason, image in failures:
        counts[reason] += 1
        examples.setdefault(reason, image)
    failed = counts.total()
    if total and failed / total > allowed:
        known = meanings or {}
        lines = "\n".join(
            f"  {count:6d}  {reason}{f' ({known[reason]})' if reason in known else ''},"
            f" as {visible(examples[reason])[:LONGEST]}"
            for reason, count in counts.most_common(10)
        )
        raise UserError(
            f"{stage}: {failed} of {total} images failed, more than {parameter} = {allowed} allows."
            f" The commonest reasons:\n{lines}\n"
            f"Correct the source, or raise {parameter} in params.yaml to go on with the rest."
        )


def explain(error: Exception) -> str:
    """Return what a user is told of an error; what the system refused comes with a remedy."""
    if not isinstance(error, OSError) or error.errno is None:
        return hide_secrets("\n".join(visible(line) for line in str(error).split("\n")))
    files = " to ".join(str(name) for name in (error.filename, error.filename2) if name)
    said = visible(f"{files}: {error.strerror}" if files else str(error.strerror))
    remedy = _REMEDIES.get(error.errno)
    return f"{said}; {remedy}" if remedy else said


def visible(text: str) -> str:
    """Return text whose control characters are written out: a file's name may steer a terminal."""
    return _STEERING.sub(lambda found: repr(found[0])[1:-1], text)


def hide_secrets(text: str) -> str:
    """Return text in which no URL shows its credentials or its query."""
    return _QUERY.sub(r"\1?…", _CREDENTIALS.sub("//…@", text))


_CREDENTIALS = re.compile(r"//[^\s@]*@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\",}\]]*[^\s'\",}\]:;.]")
# Controls, and what turns the direction of writing.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


_NO_ROOM = "make room and run again: what is finished stays"
_REMEDIES = {
    errno.EACCES: "give yourself access to it, and to the folder that it lies in",
    errno.EPERM: "give yourself access to it, and to the folder that it lies in",
    errno.EROFS: "work in a copy of the repository that can be written to",
    errno.ENOENT: "what the pipeline wrote comes back with `dvc checkout`, or with `dvc repro`",
    errno.EEXIST: "a folder belongs there: move the file away",
    errno.ENOTDIR: "a folder belongs there: move the file away",
    errno.EISDIR: "a file belongs there: move the folder away",
    errno.EMFILE: "raise the limit on open files (ulimit -n), or lower engine.workers",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) and run again",
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EIO: "the disk cannot be trusted: look into the system's log",
}
