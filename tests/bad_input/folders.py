"""Bad folders: absent, empty, of the wrong kind, the pipeline's own, or not as the labels want."""

import os

from tests.bad_input.cases import case

AT = "params.yaml: download.sources: path: "
NOTHING = f"{AT}photos: no file in ROOT/photos; put images there, or remove the source"
A = {"photos/a.jpg": "a"}


def folder(path, **more):
    """Return a source of kind folder."""
    return {"kind": "folder", "path": path, **more}


def _link_outside(root):
    (root / "secret.jpg").write_bytes(b"secret")
    (root / "photos/l.jpg").symlink_to(root / "secret.jpg")


def _link_to_nothing(root):
    (root / "photos/l.jpg").symlink_to(root / "nothing")


def _link_to_itself(root):
    (root / "photos/l.jpg").symlink_to(root / "photos/l.jpg")


def _folder_to_itself(root):
    (root / "photos").rmdir()
    (root / "photos").symlink_to(root / "photos")


CASES = (
    case("folder absent", f"{AT}none: there is no folder ROOT/none; correct the path or create it",
         folder("none")),
    case("folder is a file", f"{AT}photos/a.jpg: ROOT/photos/a.jpg is a file; expected a folder (or"
         " use kind: …)", folder("photos/a.jpg"), files=A),
    case("folder empty", NOTHING),
    case("hidden files alone", NOTHING, files={"photos/.a.jpg": "a", "photos/.d/b.jpg": "b"}),
    case("links outside alone", NOTHING, then=_link_outside),
    case("link outside", "ROOT/photos: 1 links lead outside and are passed over…", files=A,
         then=_link_outside, warns=True),
    case("link to nothing", NOTHING, then=_link_to_nothing),
    case("link to itself", NOTHING, then=_link_to_itself),
    case("folder links to itself", f"{AT}photos: there is no folder ROOT/photos; …",
         then=_folder_to_itself),
    case("named pipe alone", NOTHING, then=lambda root: os.mkfifo(root / "photos/p.jpg")),
    case("label table alone", NOTHING, folder("photos", labels="l.csv"),
         files={"photos/l.csv": "name,label\na.jpg,cat\n"}),
    case("the repository itself", f"{AT}.: ROOT/data/raw is the pipeline's own output, which each "
         "run would take in again; give a folder that holds images alone", folder("."), files=A),
    case("the pipeline's data", f"{AT}data: ROOT/data/raw is the pipeline's own output, …",
         folder("data"), files={"data/raw/00000.tar": "x"}),
    case("the raw shards", f"{AT}./data/raw: ROOT/data/raw is the pipeline's own output, …",
         folder("./data/raw"), files={"data/raw/00000.tar": "x"}),
    case("no driver", "params.yaml: download.sources: s3://bucket/photos: reading s3:// needs the "
         "package s3fs, which is not installed: pip install s3fs", folder("s3://bucket/photos")),
    case("folder over http", f"{AT}https://x.org/photos: a folder cannot be listed over http; use "
         "kind: list for its URLs, or kind: archive for one file", folder("https://x.org/photos")),
    case("label_from without folders", "params.yaml: download.sources: label_from: parent: expected"
         " files as cat/1.jpg below the source, but none of its 1 files lies so deep; move them, or"
         " leave label_from out", folder("photos", label_from="parent"), files=A),
    case("split_from without folders", "params.yaml: download.sources: split_from: grandparent: "
         "expected files as train/cat/1.jpg below the source, but none of its 2 files lies so …",
         folder("photos", split_from="grandparent"), files={**A, "photos/d/b.jpg": "b"}),
    case("label_from with some folders", "label_from: parent: 1 of 2 files do not lie so deep and "
         "stay without", folder("photos", label_from="parent"),
         files={**A, "photos/d/b.jpg": "b"}, warns=True),
    case("name that steers a terminal", "download: 1 of 1 images failed, …as photos:\\x1b[31m\\n"
         "error\\u202egpj.exe\n…", files={"photos/\x1b[31m\nerror\u202egpj.exe": "a" * 99},
         download__max_file_bytes=50),
    case("folder gone since", "scan: source photos is not on this machine; what was known stays",
         files={"data/sources.json": '{"photos": {"kind": "folder"}}'},
         then=lambda root: (root / "photos").rmdir(), stages="scan", warns=True),
    case("too many too large", "download: 2 of 3 images failed, more than download."
         "max_failed_fraction = 0.5 allows. The commonest reasons:\n       2  too_large (larger "
         "than download.max_file_bytes), as photos:a.jpg\nCorrect the source, or raise "
         "download.max_failed_fraction in params.yaml to go on with the rest.",
         files={"photos/a.jpg": "a" * 99, "photos/b.jpg": "b" * 99, "photos/c.jpg": "c"},
         download__max_file_bytes=50),
)  # fmt: skip
