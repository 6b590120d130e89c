"""Archives made for tests, honest and hostile."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pyarrow as pa

PACKERS = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": lambda content: bz2.compress(content, 1),
    "tar.xz": lzma.compress,
    "tar.zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def tar_of(members, form=tarfile.PAX_FORMAT):
    """Return a tar of (name, bytes), or of TarInfo with (bytes or None)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if content is not None:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


def zip_of(members, method=zipfile.ZIP_DEFLATED):
    """Return a zip of (name or ZipInfo, bytes)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def special(name, kind, link=""):
    """Return the header of a tar member that is no regular file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def overlapping_zip(count, kernel):
    """Return a zip whose members all point to one piece of deflated data (as 42.zip's sort)."""
    content = zip_of([("0", kernel)])
    end = content.rindex(b"PK\x05\x06")
    start = content.index(b"PK\x01\x02")
    entry, entries = bytearray(content[start:end]), b""
    for _ in range(count):
        entries += bytes(entry)
    closing = bytearray(content[end:])
    closing[8:12] = count.to_bytes(2, "little") * 2
    closing[12:16] = len(entries).to_bytes(4, "little")
    return content[:start] + entries + bytes(closing)
