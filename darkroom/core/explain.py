"""An error in words, for the user. Imported where a stage stops, so that no stage depends on it."""

import errno
import re

from darkroom.core.errors import visible

_CREDENTIALS = re.compile(r"//[^\s@]*@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\",}\]]*[^\s'\",}\]:;.]")

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


def explain(error: Exception) -> str:
    """Return the message of an error; what the system refused comes with a remedy."""
    if not isinstance(error, OSError) or error.errno is None:
        return hide_secrets("\n".join(visible(line) for line in str(error).split("\n")))
    files = " to ".join(str(name) for name in (error.filename, error.filename2) if name)
    said = visible(f"{files}: {error.strerror}" if files else str(error.strerror))
    remedy = _REMEDIES.get(error.errno)
    return f"{said}; {remedy}" if remedy else said


def hide_secrets(text: str) -> str:
    """Return text in which no URL shows its credentials or its query."""
    return _QUERY.sub(r"\1?…", _CREDENTIALS.sub("//…@", text))
