"""The members of a zip, each read within its declared size.

The table of contents, at the end of the file, is held in memory: about 1 KB per member.
"""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.sources.archives.decompress import Limits
from darkroom.sources.archives.members import Member, check_member_name
from darkroom.sources.entries import Unreadable

METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_ENCRYPTED = 0x1
_LOCAL_HEADER = 30  # bytes before the name, APPNOTE 4.3.7
# What zipfile raises for damage; NotImplementedError for features that it lacks.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


def read_members(path: Path, limits: Limits) -> Iterator[Member]:
    """Yield the members in the order of the table of contents. Raises UserError without one."""
    with open_zip(path) as archive:
        infos = archive.infolist()
        overlapping = _overlapping(infos)
        unpacked = packed = 0
        for info in infos:
            checked = check_member_name(info.orig_filename)
            if checked is None or info.is_dir() or stat.S_ISDIR(_mode(info)):
                continue
            name, reason = checked
            reason = reason or _refusal(info, limits)
            if reason is None and info.header_offset in overlapping:
                reason = "overlaps"
            size, whole = unpacked + info.file_size, packed + info.compress_size
            if reason is None and limits.is_bomb(size, whole):
                # Of many, those that are packed like photographs are not what makes it one.
                flat = info.file_size > limits.ratio * info.compress_size
                reason = "bomb" if flat or size > limits.archive_bytes else None
            if reason is None:
                unpacked, packed = size, whole
                yield Member(name, partial(_read, archive, info))
            else:
                yield Member.refused(name, reason)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Return a zip, its table of contents read. Raises UserError without one."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise UserError(
            f"{path}: the zip's table of contents, which is at its end, cannot be read ({error}):"
            " the file is cut off or damaged. Fetch it again, or repair it with `zip -FF`."
        ) from error


def _refusal(info: zipfile.ZipInfo, limits: Limits) -> str | None:
    kind = stat.S_IFMT(_mode(info))
    if kind == stat.S_IFLNK:
        return "link"
    if kind not in {0, stat.S_IFREG}:
        return "special_file"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type not in METHODS:
        return "unsupported_method"
    return "too_large" if info.file_size > limits.file_bytes else None


def _mode(info: zipfile.ZipInfo) -> int:
    return info.external_attr >> 16


def _overlapping(infos: list[zipfile.ZipInfo]) -> set[int]:
    """Return where members start that share bytes, as those of a bomb made of one kernel do.

    See D. Fifield, "A better zip bomb", 2019. Only what the table of contents says is counted.
    """
    starts, owner, end = set[int](), -1, 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        start = info.header_offset
        if start < end:
            starts |= {owner, start}
        size = _LOCAL_HEADER + len(info.orig_filename) + info.compress_size
        if start + size > end:
            owner, end = start, start + size
    return starts


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as handle:
            content = handle.read(info.file_size + 1)  # beyond the end: compares the checksum
    except NotImplementedError as error:
        raise Unreadable("unsupported_method") from error
    except (*_DAMAGE, RuntimeError, MemoryError) as error:  # LZMA asks for what its header says
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of our own disk
        raise Unreadable("corrupt") from error
    if len(content) != info.file_size:
        raise Unreadable("corrupt")
    return content
