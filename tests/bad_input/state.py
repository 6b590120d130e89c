"""What the pipeline wrote, damaged since: each case starts where all stages have run."""

import io

import pandas as pd

from tests.bad_input.cases import Case, put

INDEX, SHARD, PART = "data/raw/index.parquet", "data/raw/00000.tar", "data/clean/parts/00000"
RESTORE = "restore it with `dvc checkout`, or delete it and run `dvc repro`"
STAGED = ".darkroom/download/shards/00001.tar"
NOTED = "data/review.csv"
KEY = "0" * 32


def _case(id, says, then, stages="clean", warns=False):
    return Case(id, says, then, stages, warns)


def _write(name, content):
    """Return what puts a file in place of one that may be a link."""

    def then(root):
        (root / name).unlink(missing_ok=True)
        put(root, {name: content})

    return then


def _cut(name, size):
    def then(root):
        _write(name, (root / name).read_bytes()[:size])(root)

    return then


def _folder(name):
    """Return what puts a folder in place of a file."""

    def then(root):
        (root / name).unlink(missing_ok=True)
        (root / name).mkdir(parents=True)

    return then


def _file(name):
    """Return what puts a file in place of a folder."""

    def then(root):
        if (root / name).exists():
            (root / name).rename(root / "away")
        (root / name).write_text("a file")

    return then


def _full(name):
    """Return what makes the disk full as soon as this file is written."""

    def then(root):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".unfinished-{path.name}").symlink_to("/dev/full")

    return then


def _index(**columns):
    """Return what overwrites columns of the index."""

    def then(root):
        frame = pd.read_parquet(root / INDEX).assign(**columns)
        stream = io.BytesIO()
        frame.to_parquet(stream)
        _write(INDEX, stream.getvalue())(root)

    return then


def _remove(name):
    return lambda root: (root / name).unlink()


def _again(then):
    """Return `then`, and what makes clean read the shard once more."""

    def both(root):
        then(root)
        (root / f"{PART}.json").unlink()

    return both


ROOM = "No space left on device; make room and run again: what is finished stays"
PLACE = f"{INDEX}: expected a shard, an offset and a size for each key that is stored; {RESTORE}"
CASES = (
    _case("no JSON", "ROOT/data/sources.json is not valid JSON: …; delete it and run again",
          _write("data/sources.json", "<<<<<<< HEAD\n{}"), "scan"),
    _case("JSON of bytes", "ROOT/data/sources.json is not valid JSON: …; delete it and run again",
          _write("data/sources.json", b"\xff\xfe"), "scan"),
    _case("JSON of a list", "ROOT/data/sources.json: expected an entry per source; delete it and "
          "run again", _write("data/sources.json", "[1]"), "scan"),
    _case("JSON a folder", "ROOT/data/sources.json: Is a directory; a file belongs there: move the "
          "folder away", _folder("data/sources.json"), "scan"),
    _case("data a file", "ROOT/data…: …; a folder belongs there: move the file away",
          _file("data"), "scan"),
    _case("raw a file", "ROOT/data/raw…: …; a folder belongs there: move the file away",
          _file("data/raw"), "download"),
    _case("metrics a file", "ROOT/metrics: File exists; a folder belongs there: move the file away",
          _file("metrics"), "download"),
    _case("index absent", f"ROOT/{INDEX} is absent: run `dvc repro`, which writes it, first",
          _remove(INDEX)),
    _case("index empty", f"ROOT/{INDEX} is no whole Parquet file: …; {RESTORE}",
          _write(INDEX, "")),
    _case("index cut off", f"ROOT/{INDEX} is no whole Parquet file: …; {RESTORE}",
          _cut(INDEX, 500), "download"),
    _case("index only a pointer", f"ROOT/{INDEX} is no whole Parquet file: …; {RESTORE}",
          _write(INDEX, "version https://git-lfs.github.com/spec/v1\n")),
    _case("index a folder", f"ROOT/{INDEX}: Is a directory; a file belongs there: move the folder "
          "away", _folder(INDEX)),
    _case("index without columns", f"ROOT/{INDEX}: columns ['label', …] are missing; {RESTORE}",
          lambda root: pd.DataFrame({"key": ["a"]}).to_parquet(root / INDEX), "download"),
    _case("index of other types", f"ROOT/{INDEX}: column offset: expected int64, got …; {RESTORE}",
          _index(offset="x"), "download"),
    _case("index without places", PLACE, _index(offset=None)),
    _case("index that leads outside", PLACE, _index(shard="../../../etc/passwd")),
    _case("offsets beyond the shard", f"ROOT/{SHARD} is cut off: expected … bytes at 1000000, got "
          f"0; {RESTORE}", _index(offset=1_000_000)),
    _case("stored shard absent", f"ROOT/{SHARD}: No such file or directory; what the "
          "pipeline wrote comes back with `dvc checkout`, or with `dvc repro`",
          _again(_remove(SHARD))),
    _case("stored shard cut off", f"ROOT/{SHARD} is cut off: …; {RESTORE}",
          _again(_cut(SHARD, 1000))),
    _case("stored shard of zeros", "clean: 2 of 2 images failed, …\n       2  not_an_image, as "
          "photos:….png\n…",
          _again(_write(SHARD, bytes(100_000)))),
    _case("index without places, to download", PLACE, _index(offset=None), "download"),
    _case("index of negative places", PLACE, _index(offset=-5)),
    _case("staged shard garbage", "download: 3 in, 3 kept, …",
          lambda root: [_write("photos/c.jpg", "c")(root), _write(STAGED, b"x" * 3000)(root)],
          "download", warns=True),
    _case("journal garbage", "download: 2 in, 2 kept, …",
          _write(".darkroom/download/journal", b"\xff\0\n! x .\n"), "download", warns=True),
    _case("scratch folder a file", "ROOT/.darkroom/clean: File exists; a folder belongs there: …",
          _again(_file(".darkroom/clean"))),
    _case("part cut off", f"ROOT/{PART}.parquet is no whole Parquet file: …; {RESTORE}",
          _cut(f"{PART}.parquet", 100)),
    _case("part's note broken", "clean: 2 in, 2 kept, …", _write(f"{PART}.json", "{"), warns=True),
    _case("folder among the parts", "ROOT/data/clean/parts/old: …; a file belongs there: move the "
          "folder away", lambda root: (root / "data/clean/parts/old").mkdir()),
    _case("cache of hashes garbage", "scan: 1 sources, unchanged; …",
          lambda root: [_write(path.relative_to(root), b"\xff\0")(root)
                        for path in (root / ".darkroom/scan").iterdir()], "scan", warns=True),
    _case("heading of purged keys", "ROOT/data/purged.csv: line 1: expected the heading `key`; put "
          "it back", _write("data/purged.csv", "keys\n"), "download"),
    _case("purged key too short", "ROOT/data/purged.csv: line 2: expected a key of 32 hexadecimal "
          "digits, got 'abc'; correct or remove it", _write("data/purged.csv", "key\nabc\n"),
          "download"),
    _case("purged keys in UTF-16", "ROOT/data/purged.csv: expected UTF-8, got invalid start byte at"
          " byte 0; save it as UTF-8", _write("data/purged.csv", "key\n".encode("utf-16")),
          "download"),
    _case("review without its columns", f"ROOT/{NOTED}, line 1: expected the columns key, other, "
          "decision, value, note; got a, b", _write(NOTED, "a,b\n")),
    _case("decision unknown", f"ROOT/{NOTED}, line 2: decision: expected one of keep, …; got "
          "'maybe'", _write(NOTED, f"key,decision\n{KEY},maybe\n")),
    _case("decisions contradict", f"ROOT/{NOTED}: line 2 says keep and line 3 says reject of {KEY};"
          " remove one of them", _write(NOTED, f"key,decision\n{KEY},keep\n{KEY},reject\n")),
    _case("review in Latin-1", f"ROOT/{NOTED}: expected UTF-8, got invalid continuation byte at "
          "byte 56; save it as 'CSV UTF-8'",
          _write(NOTED, f"key,decision,note\n{KEY},keep,\xe9\n".encode("latin-1"))),
    _case("decision on no image", "data/review.csv: 1 decisions name images that are not here; they"
          " wait until these come back", _write(NOTED, f"key,decision\n{KEY},keep\n"), warns=True),
    _case("disk full at the sources", f"ROOT/data/sources.json: {ROOM}",
          lambda root: [_write("photos/c.jpg", "c")(root), _full("data/sources.json")(root)],
          "scan"),
    _case("disk full at a shard", f"ROOT/{STAGED}: {ROOM}",
          lambda root: [_write("photos/c.jpg", "c")(root), _full(STAGED)(root)],
          "download"),
    _case("disk full at the index", f"ROOT/{INDEX}: …; make room and run again: …", _full(INDEX),
          "download"),
    _case("disk full at the metrics", f"ROOT/metrics/download.json: {ROOM}",
          _full("metrics/download.json"), "download"),
    _case("disk full at the summary", "ROOT/data/clean/summary.parquet: …; make room and run "
          "again: what is finished stays", _full("data/clean/summary.parquet")),
)  # fmt: skip
