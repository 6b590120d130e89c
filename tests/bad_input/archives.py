"""Bad archives and shards: none, of another kind, cut off, and members that are refused as rows."""

import gzip
import io
import random
import tarfile
import zipfile

from tests.bad_input.cases import Rows, case

AT = "params.yaml: download.sources: path: "
EXPECTED = "expected a zip or a tar (plain, gzip, bzip2, xz, zstd), got"
SOMETHING = f"{AT}x.zip: {EXPECTED} something else: correct it, or use kind: folder"


def zipped(*members):
    """Return a zip of (name, content)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(*members):
    """Return a tar of (name, content), a content of one byte being the type of a special member."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if len(content) == 1:
                info.type, info.linkname = content, "/etc/passwd"
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _encrypted():
    content = bytearray(zipped(("a.jpg", b"abc")))
    content[6] |= 1
    content[content.find(b"PK\1\2") + 8] |= 1
    return bytes(content)


def _archive(id, says, name, content, **source):
    return case(
        id, says, {"kind": "archive", "path": name, **source},
        files={} if content is None else {name: content},
    )  # fmt: skip


def _shards(id, says, path, files=None, warns=False, **source):
    return case(
        id, says, {"kind": "webdataset", "path": path, **source}, files=files, warns=warns
    )  # fmt: skip


GOOD = zipped(("a.jpg", b"aa"), ("b.jpg", b"bb"))
TAR = tarred(("a.jpg", b"aa"), ("b.jpg", b"bb"))
CASES = (
    _archive("archive absent", f"{AT}x.zip: there is no file ROOT/x.zip; correct the path",
             "x.zip", None),
    _archive("archive is a folder", f"{AT}photos: ROOT/photos is a folder; expected a file (or use "
             "kind: folder)", "photos", None),
    _archive("archive empty", SOMETHING, "x.zip", b""),
    _archive("error page for an archive", SOMETHING, "x.zip", "<html>404</html>"),
    _archive("RAR", f"{AT}x.rar: {EXPECTED} a RAR archive: unpack it and use kind: folder",
             "x.rar", b"Rar!\x1a\7\0" + b"x" * 600),
    _archive("7z", f"{AT}x.7z: {EXPECTED} a 7z archive: unpack it and use kind: folder",
             "x.7z", b"7z\xbc\xaf\x27\x1c" + b"x" * 600),
    _archive("gzip of something else", f"{AT}x.gz: {EXPECTED} something else: …", "x.gz",
             gzip.compress(b"hello" * 999)),
    _archive("zip cut off", "ROOT/x.zip: the zip's table of contents, which is at its end, cannot "
             "be read (…): the file is cut off or damaged. Fetch it again, or repair it with `zip "
             "-FF`.", "x.zip", GOOD[:-30]),
    _archive("gzip cut off at once", f"{AT}x.tgz: the file is truncated from its start", "x.tgz",
             gzip.compress(TAR)[:40]),
    _archive("zstd garbage", f"{AT}x.tar.zst: the file is corrupt from its start", "x.tar.zst",
             b"\x28\xb5\x2f\xfd" + b"x" * 600),
    _archive("zip without files", f"{AT}x.zip: no file in that archive; correct the path, or "
             "remove the source", "x.zip", zipped(("d/", b""))),
    _archive("tar without files", f"{AT}x.tar: no file in that archive; …", "x.tar", tarred()),
    _archive("archive without its table", "params.yaml: download.sources: labels: l.csv is not "
             "there; tried ROOT/l.csv and x.zip itself", "x.zip", GOOD, labels="l.csv"),
    _archive("bad table in an archive", "l.csv: expected a column `name`; got name|label; …",
             "x.zip", zipped(("a.jpg", b"aa"), ("l.csv", "name|label\na.jpg|x\n")), labels="l.csv"),
    _archive("label_from without folders in an archive", "params.yaml: download.sources: label_from"
             ": parent: expected files as cat/1.jpg below the source, but none of its 2 files lies "
             "so deep; move them, or leave label_from out", "x.zip", GOOD, label_from="parent"),
    _archive("every member refused", "download: 1 of 1 images failed, …\n       1  encrypted (the "
             "member needs a password), as x.zip:a.jpg\n…",
             "x.zip", _encrypted()),
    _archive("scheme unknown", "params.yaml: download.sources: ftp://…: expected a path "
             "on this machine, or a URL that begins with … and ://", "ftp://x.org/x.zip", None),
    _archive("schemes in a chain", "params.yaml: download.sources: …: "
             "expected a path on this machine, …", "zip://a::file:///etc/passwd", None),
    _archive("archive at a private address", "params.yaml: download.sources: "
             "http://127.0.0.1:1/x.zip cannot be reached: "
             "private_address (a private address; see download.allow_private_hosts); "
             "correct the URL, or the access to it",
             "http://me:secret@127.0.0.1:1/x.zip?token=secret", None),
    _shards("shard absent", f"{AT}w.tar: ROOT/w.tar is not there; correct the path or the range",
            "w.tar"),
    _shards("shards absent", f"{AT}w{{0..3}}.tar: ROOT/w1.tar and 2 more are not there; …",
            "w{0..3}.tar", {"w0.tar": TAR}),
    _shards("range backwards", f"{AT}ROOT/w{{3..0}}.tar: expected 1 to 1,000,000 shards, got -2; "
            "correct the range", "w{3..0}.tar"),
    _shards("range backwards elsewhere", f"{AT}http://…@127.0.0.1/{{3..0}}.tar?…: expected 1 to "
            "1,000,000 shards, got -2; …", "http://me:secret@127.0.0.1/{3..0}.tar?k=secret"),
    _shards("range without end", f"{AT}…: expected 1 to 1,000,000 shards, got 100,000,000,000; …",
            "w{0..99999999999}.tar"),
    _shards("folder without shards", f"{AT}photos: no shard is there; correct the path or the "
            "range", "photos"),
    _shards("a zip for a shard", "download: 1 of 1 images failed, …\n       1  not_an_archive (the "
            "shard is no tar), as w.tar:w.tar\n…",
            "w.tar", {"w.tar": GOOD}),
    _shards("labels of samples broken", "w.tar: 2 samples have labels that cannot be read, and stay"
            " without; the first: …", "w.tar",
            {"w.tar": tarred(("a.jpg", b"aa"), ("a.json", b"{ "), ("b.jpg", b"bb"),
                             ("b.cls", b"\xff\xfe"))}, warns=True),
)  # fmt: skip

LIMITS = {"download__max_file_bytes": 50_000, "download__max_failed_fraction": 1.0}
ROWS = (
    Rows("members of a zip", {"kind": "archive", "path": "x.zip"}, {"x.zip": zipped(
        ("../../evil.jpg", b"e1"),
        ("/absolute.jpg", b"e2"),
        ("C:\\windows.jpg", b"e3"),
        ("large.jpg", random.Random(0).randbytes(70_000)),
        ("flat.jpg", bytes(40_000)),
        ("bomb.jpg", bytes(40_000)),
        ("ok.jpg", b"ok"),
    )}, {
        "../../evil.jpg": ("failed", "escapes"),
        "/absolute.jpg": ("failed", "escapes"),
        "C:\\windows.jpg": ("failed", "escapes"),
        "large.jpg": ("failed", "too_large"),
        "flat.jpg": ("kept", None),
        "bomb.jpg": ("failed", "bomb"),
        "ok.jpg": ("kept", None),
    }, changes=LIMITS),
    Rows("members of a tar", {"kind": "archive", "path": "x.tar"}, {"x.tar": tarred(
        ("link.jpg", tarfile.SYMTYPE),
        ("hard.jpg", tarfile.LNKTYPE),
        ("device.jpg", tarfile.CHRTYPE),
        ("pipe.jpg", tarfile.FIFOTYPE),
        ("../evil.jpg", b"e1"),
        ("ok.jpg", b"ok"),
    )[:-6144]}, {
        "link.jpg": ("failed", "link"),
        "hard.jpg": ("failed", "link"),
        "device.jpg": ("failed", "special_file"),
        "pipe.jpg": ("failed", "special_file"),
        "../evil.jpg": ("failed", "escapes"),
        "ok.jpg": ("kept", None),
        "x.tar": ("failed", "truncated"),
    }, changes=LIMITS),
)  # fmt: skip
