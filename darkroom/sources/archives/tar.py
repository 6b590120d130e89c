"""The members of a tar, packed or not, in one pass from front to back and in flat memory.

tarfile keeps a note of every member, and reads an extended header whole, however large it says that
it is; so only its parsing of one header block is used. Known are ustar, GNU's long names and PAX.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from darkroom.sources.archives.decompress import Limits, Unpacked
from darkroom.sources.archives.members import BrokenArchive, Member, check_member_name
from darkroom.sources.entries import Unreadable

BLOCK = 512
MAX_EXTENDED = 2**20  # bytes of one extended header; a long name takes 4 KiB
_REGULAR, _DIRECTORY, _LINKS = (b"0", b"\0", b"7"), b"5", (b"1", b"2")
_LONG_NAME, _LONG_LINK, _LABEL, _SPARSE = b"L", b"K", b"V", b"S"
_PAX, _GLOBAL_PAX = (b"x", b"X"), b"g"


def is_header(block: bytes) -> bool:
    """Return whether a block of 512 bytes is the header of a tar member, or the end of a tar."""
    if not block.strip(b"\0"):
        return True
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def read_members(path: Path, limits: Limits, title: str) -> Iterator[Member]:
    """Yield the members in order.

    Where the archive breaks off or is damaged, the member at that place is refused, or, between two
    members, one is yielded that is named `title`.
    """
    stream = Unpacked(path, limits)
    try:
        while (header := _Header.read(stream)) is not None:
            member = _OpenMember(stream, header.size, limits.file_bytes)
            checked = header.check()
            if checked is not None:
                name, reason = checked
                yield Member.refused(name, reason) if reason else Member(name, member.read)
            if member.broken:
                return  # its own row says so
            stream.skip(member.left + -header.size % BLOCK)
        stream.drain()
    except BrokenArchive as fault:
        yield Member.refused(title, fault.reason)
    finally:
        stream.close()


class _Header:
    """What the blocks before a member's bytes say of it."""

    def __init__(self, block: bytes, long_name: bytes | None, pax: dict[bytes, bytes]) -> None:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise BrokenArchive("corrupt") from error
        self.kind = block[156:157]
        self.sparse = self.kind == _SPARSE or any(k.startswith(b"GNU.sparse") for k in pax)
        given = pax.get(b"path", long_name)
        self.name = info.name if given is None else given.decode("utf-8", "surrogateescape")
        self.size = info.size if b"size" not in pax else _number(pax[b"size"])
        if self.size < 0:
            raise BrokenArchive("corrupt")

    @classmethod
    def read(cls, stream: Unpacked) -> "_Header | None":
        """Return the next member's header, None at the end of the archive."""
        long_name, pax = None, dict[bytes, bytes]()
        while True:
            block = stream.read(BLOCK)
            if len(block) < BLOCK:  # without the two empty blocks, so something is missing
                raise BrokenArchive("truncated")
            if not block.strip(b"\0"):
                return None
            header = cls(block, long_name, pax)
            if header.kind == _LONG_NAME:
                long_name = _extended(stream, header.size).rstrip(b"\0")
            elif header.kind in _PAX:
                pax = _records(_extended(stream, header.size))
            elif header.kind in {_LONG_LINK, _GLOBAL_PAX}:
                _extended(stream, header.size)
            else:
                more = header.kind == _SPARSE and block[482]
                while more:  # the map of a sparse file goes on
                    more = (stream.read(BLOCK) or bytes(BLOCK))[504]
                return header

    def check(self) -> tuple[str, str | None] | None:
        """Return (name, reason to refuse it or None); None for what is passed over."""
        if self.kind in {_DIRECTORY, _LABEL} or self.name.endswith("/"):
            return None
        checked = check_member_name(self.name)
        if checked is None or checked[1]:
            return checked
        if self.kind in _LINKS:
            return checked[0], "link"
        if self.kind not in _REGULAR or self.sparse:
            return checked[0], "special_file"
        return checked


class _OpenMember:
    """The bytes of the member at which the stream is."""

    def __init__(self, stream: Unpacked, size: int, max_bytes: int) -> None:
        self._stream, self.size, self._max_bytes = stream, size, max_bytes
        self.left, self.broken = size, False

    def read(self) -> bytes:
        """Return the bytes. Raises Unreadable."""
        if self.size > self._max_bytes:
            raise Unreadable("too_large")
        try:
            content = self._stream.read(self.size)
            if len(content) < self.size:
                raise BrokenArchive("truncated")
        except BrokenArchive as fault:
            self.broken = True
            raise Unreadable(fault.reason) from fault
        self.left = 0
        return content


def _extended(stream: Unpacked, size: int) -> bytes:
    """Return the content of an extended header, its padding passed over."""
    if size > MAX_EXTENDED:
        raise BrokenArchive("corrupt")
    content = stream.read(size + -size % BLOCK)[:size]
    if len(content) < size:
        raise BrokenArchive("truncated")
    return content


def _records(content: bytes) -> dict[bytes, bytes]:
    """Return the key=value records of a PAX header (POSIX.1-2001, "pax Extended Header")."""
    records, at = {}, 0
    end = len(content.rstrip(b"\0"))  # once: a header of 1 MiB may hold 170,000 records
    while at < end:
        length, space, _ = content[at : at + 21].partition(b" ")
        size = _number(length)
        key, equals, value = content[at + len(length) + 1 : at + size].partition(b"=")
        if not space or not equals or not value.endswith(b"\n"):
            raise BrokenArchive("corrupt")
        records[key] = value[:-1]
        at += size
    return records


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise BrokenArchive("corrupt")
    return int(digits)
