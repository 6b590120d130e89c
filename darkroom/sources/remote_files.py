"""Files that are not on this machine: http and https by our own client, others through fsspec.

A driver is the user's to install; it finds credentials in its own places (environment, files below
the home folder), never in params.yaml, so that none reach a table or a log. What was fetched waits
in `.darkroom/remote/` under a name made of URL and version, and is resumed after a kill.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from darkroom.core.errors import UserError
from darkroom.core.params.download import DownloadParams
from darkroom.core.paths import without_secrets
from darkroom.core.progress import Progress
from darkroom.sources.archives.members import check_member_name
from darkroom.sources.entries import Unreadable, Version

SCRATCH = Path(".darkroom/remote")  # purge removes it, since an image may be in it
# What to install for each; other protocols are refused, as `file://`, or chains with `::`.
DRIVERS = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "abfss": "adlfs", "hf": "huggingface_hub", "oss": "ossfs",
}  # fmt: skip
WEB = {"http", "https"}
_CHUNK, _MEGABYTE = 2**22, 10**6
# Fields of drivers that identify a version, the surest first.
_TOKENS = (
    "ETag", "etag", "md5Hash", "content_md5", "blob_id", "mtime", "LastModified", "last_modified",
    "updated", "created",
)  # fmt: skip
_T = TypeVar("_T")


class RemoteFile(NamedTuple):
    """One file below a remote folder."""

    name: str
    path: str  # as the driver has it
    version: Version


def protocol(url: str) -> str:
    """Return the protocol of a URL that may be used. Raises UserError."""
    name = url.partition("://")[0].lower()
    if name not in {*DRIVERS, *WEB} or "::" in url:
        raise UserError(
            f"params.yaml: download.sources: {name}://…: expected a path on this"
            f" machine, or a URL that begins with {', '.join(sorted({*DRIVERS, *WEB}))} and ://"
        )
    return name


def versions(urls: list[str], params: DownloadParams) -> dict[str, Version | Unreadable]:
    """Return the version of each URL, or why it cannot be had. They share one protocol."""
    if urls and protocol(urls[0]) in WEB:
        # here, as below: importing aiohttp takes a while
        from darkroom.sources.http import large_files

        return large_files.probe(urls, params)
    return {url: _stat(url) for url in urls}


def fetch_to_cache(
    url: str, version: Version, root: Path, params: DownloadParams, max_bytes: int
) -> Path:
    """Return the file on this disk, fetched unless it is here. Raises Unreadable."""
    name = hashlib.sha256(f"{url}\0{version}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    whole, part = root / SCRATCH / f"whole-{name}", root / SCRATCH / f"part-{name}"
    if whole.exists():
        return whole
    if (version.size or 0) > max_bytes:
        raise Unreadable("too_large")
    whole.parent.mkdir(parents=True, exist_ok=True)
    on_bytes = _byte_progress(url, version)
    if protocol(url) in WEB:
        from darkroom.sources.http import large_files

        transfer = large_files.Transfer(url, version, part, max_bytes, on_bytes)
        large_files.fetch_file(transfer, params)
    else:
        _call_driver(lambda: _copy(url, part, max_bytes, on_bytes))
    if version.size not in {None, part.stat().st_size}:
        part.unlink()
        raise Unreadable("incomplete")
    part.replace(whole)
    return whole


def list_folder(url: str) -> list[RemoteFile]:
    """Return the files below a folder that is no web page. Raises Unreadable, UserError."""
    if protocol(url) in WEB:
        raise UserError(
            f"params.yaml: download.sources: path: {without_secrets(url)}: a folder cannot be"
            " listed over http; use kind: list for its URLs, or kind: archive for one file"
        )
    system, path = _open(url)
    files: dict[str, Any] = _call_driver(lambda: dict(system.find(path, detail=True)))
    return sorted(_below(path, files))


def glob(url: str) -> dict[str, Version]:
    """Return the URLs that a pattern stands for, with their versions. Raises Unreadable."""
    system, path = _open(url)
    files: dict[str, Any] = _call_driver(lambda: dict(system.glob(path, detail=True)))
    name = protocol(url)
    return {f"{name}://{path.lstrip('/')}": _version(files[path]) for path in sorted(files)}


def sibling(url: str, name: str) -> str:
    """Return the URL of a file in the same folder as another, with the same query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=str(PurePosixPath(parts.path or "/").parent / name)))


def read_many(url: str, files: list[RemoteFile]) -> list[bytes | Unreadable]:
    """Return the content of each file below the folder `url`, read all at once."""
    system, _ = _open(url)
    sizes = {file.path: file.version.size for file in files if file.version.size}
    ranges = list(sizes), [0] * len(sizes), list(sizes.values())
    contents: list[Any] = []
    if sizes:
        contents = _call_driver(lambda: list(system.cat_ranges(*ranges)))
    by_path = dict(zip(sizes, contents, strict=True))
    return [_content(file, by_path.get(file.path, b"")) for file in files]


def _content(file: RemoteFile, read: Any) -> bytes | Unreadable:
    if isinstance(read, Exception):
        return Unreadable(_reason(read))
    content = bytes(read)
    return content if len(content) == file.version.size else Unreadable("incomplete")


def _open(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it. Raises UserError without a driver."""
    import fsspec.core

    name = protocol(url)
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = DRIVERS.get(name, name)
        raise UserError(
            f"params.yaml: download.sources: {without_secrets(url)}: reading {name}:// needs the"
            f" package {package}, which is not installed: pip install {package}"
        ) from error
    except ValueError as error:
        raise UserError(
            f"params.yaml: download.sources: {without_secrets(url)}: {_without_secrets(error)}"
        ) from error
    return system, str(path)


def _call_driver(call: Callable[[], _T]) -> _T:
    """Call a driver. What one raises is documented nowhere, so every exception counts."""
    try:
        return call()
    except Exception as error:
        raise Unreadable(_reason(error), _without_secrets(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, Unreadable):
        return error.reason
    if isinstance(error, PermissionError):
        return "permission_denied"
    if isinstance(error, FileNotFoundError):
        return "vanished"
    return "timeout" if isinstance(error, TimeoutError) else "unreadable"


def _without_secrets(error: Exception) -> str:
    """Return a message without what may be a password or a signature."""
    message = re.sub(r"//[^/\s@]*@", "//", re.sub(r"\?\S+", "", str(error)))
    return f"{type(error).__name__}: {message[:300]}"


def _stat(url: str) -> Version | Unreadable:
    system, path = _open(url)
    try:
        info = _call_driver(lambda: dict(system.info(path)))
    except Unreadable as failure:
        return failure
    return _version(info) if info.get("type") == "file" else Unreadable("vanished")


def _version(info: dict[str, Any]) -> Version:
    token = next((str(info[name]) for name in _TOKENS if info.get(name)), "")
    size = info.get("size")
    return Version(int(size) if size is not None else None, token)


def _below(folder: str, files: dict[str, Any]) -> Iterator[RemoteFile]:
    for path, info in files.items():
        checked = check_member_name(path.removeprefix(folder.rstrip("/")).lstrip("/"))
        if checked and not checked[1]:
            yield RemoteFile(checked[0], path, _version(info))


def _byte_progress(url: str, version: Version) -> Callable[[int], None]:
    """Return what shows the progress of a long transfer, to be called with each piece's size."""
    title = f"fetch {PurePosixPath(without_secrets(url)).name}"
    size = version.size or 0
    progress = Progress(title, size // _MEGABYTE, "MB", open_ended=version.size is None)
    arrived = 0

    def advance(more: int) -> None:
        nonlocal arrived
        before, arrived = arrived, arrived + more
        progress.advance(arrived // _MEGABYTE - before // _MEGABYTE)

    return advance


def _copy(url: str, part: Path, max_bytes: int, on_bytes: Callable[[int], None]) -> None:
    """Copy a file, resuming from what is there."""
    system, path = _open(url)
    with system.open(path, "rb") as source, part.open("ab") as handle:
        source.seek(handle.tell())
        while chunk := source.read(_CHUNK):
            if handle.tell() + len(chunk) > max_bytes:
                raise Unreadable("too_large")
            handle.write(chunk)
            on_bytes(len(chunk))
        handle.flush()
        os.fsync(handle.fileno())
