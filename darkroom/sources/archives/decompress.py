"""The bytes of a tar, unpacked while they are read: forward only, in little memory, within limits.

What packed them is recognised by the first bytes: gzip, bzip2, xz, zstd, or nothing.
"""

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from darkroom.core.params.download import DownloadParams
from darkroom.sources.archives.members import BrokenArchive

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
XZ_MEMORY = 256 * 2**20  # `xz -9` asks for 65 MiB to unpack; a hostile header for 4 GiB
_CHUNK = 2**18
_AHEAD = 2**16  # unpacked at a time for small reads
_CORRUPT = (OSError, zlib.error, lzma.LZMAError, ValueError)  # arrow raises the outer two


class Limits(NamedTuple):
    """How much an archive may unpack to: what exceeds it counts as a decompression bomb."""

    file_bytes: int  # one member
    archive_bytes: int  # all of them
    ratio: float  # unpacked over packed, counted once more than one file's worth is unpacked

    def is_bomb(self, unpacked: int, packed: int) -> bool:
        """Return whether so many bytes, out of so many packed ones, are too many."""
        if unpacked > self.archive_bytes:
            return True
        return unpacked > self.file_bytes and unpacked > self.ratio * max(packed, 1)


def limits_of(params: DownloadParams) -> Limits:
    """Return the limits that params.yaml sets."""
    return Limits(params.max_file_bytes, params.max_archive_bytes, params.max_archive_ratio)


def packing(head: bytes) -> str | None:
    """Return what the bytes at the start of a file are packed by; None for nothing known."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


class Unpacked:
    """A file, unpacked, to be read forwards. Its methods raise BrokenArchive."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Open the file."""
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._limits, self._unpacked = limits, 0
        self._kind = packing(self._file.read(6))
        self._file.seek(0)
        self._source = _unpacker(self._file, self._kind)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        parts = []
        while size and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes, which must be there."""
        if self._kind is None:
            if size > self._size - self._file.tell():  # before seeking: it may fit no offset
                raise BrokenArchive("truncated")
            self._file.seek(size, 1)
            return
        while size:
            part = self._some(min(size, _CHUNK))
            if not part:
                raise BrokenArchive("truncated")
            size -= len(part)

    def drain(self) -> None:
        """Read what is left of a packed file, so that its checksum is compared."""
        while self._kind is not None and self._some(_CHUNK):
            pass

    def _some(self, size: int) -> bytes:
        try:
            part = bytes(self._source.read(min(size, _CHUNK)))
        except EOFError as error:
            raise BrokenArchive("truncated") from error
        except _CORRUPT as error:
            early = "truncated" in str(error).lower()  # what arrow says of zstd
            raise BrokenArchive("truncated" if early else "corrupt") from error
        self._unpacked += len(part)
        if self._kind and self._limits.is_bomb(self._unpacked, self._file.tell()):
            raise BrokenArchive("bomb")
        return part


def _unpacker(file: BinaryIO, kind: str | None) -> Any:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file)
    if kind == "bzip2":
        return bz2.BZ2File(file)
    if kind == "xz":
        return io.BufferedReader(_Xz(file), _AHEAD)
    if kind == "zstd":
        import pyarrow as pa  # here, since it takes a while

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), kind), _AHEAD)
    return file


class _Xz(io.RawIOBase):
    """lzma.LZMAFile, with a limit to the memory that the file may ask for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream: lzma.LZMADecompressor | None = self._start()
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        part = self._some(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def _some(self, size: int) -> bytes:
        while self._stream is not None:
            if self._stream.needs_input and not self._waiting:
                self._waiting = self._file.read(_CHUNK)
                if not self._waiting:
                    raise EOFError
            part = self._stream.decompress(self._waiting, max_length=size)
            self._waiting = b""
            if self._stream.eof:
                self._next()
            if part:
                return part
        return b""

    def _start(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def _next(self) -> None:
        """Go on with the stream that follows, as parallel packers write; there may be none."""
        left = self._stream.unused_data if self._stream else b""
        left = left.lstrip(b"\0")  # padding between streams
        while not left and (more := self._file.read(_CHUNK)):
            left = more.lstrip(b"\0")
        self._stream, self._waiting = (self._start(), left) if left else (None, b"")
