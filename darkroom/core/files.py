"""Files that are either whole or absent: written to a temporary name, synced, renamed.

A published file is never opened for writing, since it may be a link into DVC's cache.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

MetricTree = dict[str, Any]  # nested dicts whose leaves are int, float, str, bool or None


@contextmanager
def publish(path: Path) -> Iterator[BinaryIO]:
    """Open a file that becomes `path` in one step at the end, creating parent folders."""
    temporary = unfinished(path)
    with naming(path), temporary.open("wb") as handle:
        yield handle
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Publish `content` at `path`."""
    with publish(path) as handle:
        handle.write(content)


def write_text(path: Path, text: str) -> None:
    """Publish `text` as UTF-8 at `path` in one step."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Publish `value` as sorted, indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_metrics(path: Path, metrics: MetricTree) -> None:
    """Publish nested scalars as `metrics/<stage>.json`; DVC's diff drops lists: refused."""
    _refuse_lists(metrics, path.name)
    write_json(path, metrics)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put `path` into what the system says: a disk that is full names no file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def unfinished(path: Path) -> Path:
    """Return the temporary name beside `path`, in a folder that exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".unfinished-{path.name}")


def _refuse_lists(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_lists(inner, f"{where}:{key}")
    elif isinstance(value, list | tuple):
        raise TypeError(f"{where}: expected nested scalars, got a list; DVC's diff drops lists")
