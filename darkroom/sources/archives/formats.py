"""Which format an archive has, recognised by its bytes, and its members in either: zip, or tar."""

import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.sources.archives import tar, zip
from darkroom.sources.archives.decompress import Limits, Unpacked, packing
from darkroom.sources.archives.members import BrokenArchive, Member

# What else people give: formats that no maintained library here reads.
_OTHERS = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x1f\x9d": "compress"}


def detect_format(path: Path, limits: Limits) -> str | None:
    """Return `zip` or `tar`, by the bytes; None for anything else. Raises BrokenArchive."""
    with path.open("rb") as handle:
        head = handle.read(tar.BLOCK)
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return "zip"
    if packing(head):
        with closing(Unpacked(path, limits)) as stream:
            head = stream.read(tar.BLOCK)
    if len(head) == tar.BLOCK and tar.is_header(head):
        return "tar"
    return "zip" if zipfile.is_zipfile(path) else None  # behind a program that unpacks it


def require_archive(path: Path, limits: Limits, where: str) -> None:
    """Raise UserError for a file whose members cannot be read; `where` names the setting."""
    try:
        kind = detect_format(path, limits)
    except BrokenArchive as fault:
        raise UserError(f"{where}: the file is {fault.reason} from its start") from fault
    if kind == "zip":
        zip.open_zip(path).close()
    elif kind is None:
        with path.open("rb") as handle:
            head = handle.read(8)
        other = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
        got = f"a {other} archive: unpack it and" if other else "something else: correct it, or"
        raise UserError(
            f"{where}: expected a zip or a tar (plain, gzip, bzip2, xz, zstd), got {got}"
            " use kind: folder"
        )


def read_members(path: Path, limits: Limits, title: str) -> Iterator[Member]:
    """Yield the members of a zip or a tar; `title` names what is no member but is lost."""
    if detect_format(path, limits) == "zip":
        yield from zip.read_members(path, limits)
    else:
        yield from tar.read_members(path, limits, title)
