"""Purging: gone from the store at once, from everything after `dvc repro`, and never back."""

import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import key_of, shard_name, write_shard
from darkroom.purge.images import purge_images, purge_keys
from darkroom.purge.names import find_keys, read_names
from darkroom.sources.store import journal
from darkroom.sources.store.purged import read_purged, write_purged
from stages import clean, download
from tests.harness import (
    PARAMS,
    call,
    dvc_here,
    make_repository,
    read_tar,
    read_values,
    run_command,
    tool_environment,
    write_bad_company,
    write_rated,
)

FOLDER = {"kind": "folder", "path": "photos"}
NAMES = "abcdef"


def content_of(name):
    return f"picture {name} ".encode() * 200


def key(name):
    return key_of(content_of(name))


@pytest.fixture
def project(tmp_path, values):
    """Return (root, a function that downloads) with pictures a to f, of which f is `copy of a`."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.jpg").write_bytes(content_of(name))
    (folder / "same_as_a.jpg").write_bytes(content_of("a"))
    (folder / "labels.csv").write_text("name,label,group\na.jpg,ann,family\nb.jpg,bob,other\n")

    def run(*more):
        values["download"]["sources"] = [{**FOLDER, "labels": "labels.csv"}, *more]
        download.run(tmp_path, check_params(values, Params))
        return index_of(tmp_path)

    run()
    return tmp_path, run


def index_of(root):
    index = tables.read_table(root / "data/raw/index.parquet", tables.INDEX)
    return index.set_index("name")


def raw_files(root):
    return {path.name: path.read_bytes() for path in (root / "data/raw").iterdir()}


def anywhere(root, content, *folders):
    """Return the files below these folders that hold a part of `content`."""
    start = 3 * len(content) // 4  # behind what a file that was cut off has in common with it
    part = content[start : start + 64]
    return [
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and part in path.read_bytes()
    ]


def purge_now(root, *images, with_copies=False, dry_run=False):
    purge_images(root, images, with_copies, dry_run)
    return index_of(root)


def test_the_bytes_go_and_the_records_stay_as_withdrawn(project):
    root, _ = project
    before = index_of(root)
    after = purge_now(root, key("a"))
    assert anywhere(root, content_of("a"), "data", ".darkroom") == []
    gone = after.loc[["a.jpg", "same_as_a.jpg"]]
    assert set(gone["status"]) == {"withdrawn"}
    assert set(gone["reason"]) == {"purged"}
    assert set(gone["key"]) == {key("a")}
    assert gone[["uri", "shard", "offset", "size", *tables.LABEL_COLUMNS]].isna().all(axis=None)
    others = ["uri", "key", "status", "label", "source_group"]
    staying = [f"{name}.jpg" for name in "bcdef"]
    pd.testing.assert_frame_equal(after.loc[staying, others], before.loc[staying, others])
    for row in after.loc[staying].itertuples():
        members = read_tar(root / "data/raw" / row.shard)
        assert members[f"{row.key}.bin"] == content_of(row.Index[0])
    assert read_purged(root / "data/purged.csv") == {key("a")}


def test_it_does_not_come_back_under_any_name_or_source(project):
    root, run = project
    purge_now(root, key("a"))
    (root / "photos/again.jpg").write_bytes(content_of("a"))
    (root / "others").mkdir()
    (root / "others/x.jpg").write_bytes(content_of("a"))
    index = run({"kind": "folder", "path": "others"})
    assert anywhere(root, content_of("a"), "data", ".darkroom") == []
    every = index[index["key"] == key("a")]
    assert sorted(every.index) == ["a.jpg", "again.jpg", "same_as_a.jpg", "x.jpg"]
    assert set(every["reason"]) == {"purged"}


def test_a_purged_image_that_the_source_no_longer_has_stays_a_purged_row(project):
    root, run = project
    purge_now(root, key("a"))
    (root / "photos/a.jpg").unlink()
    (root / "photos/same_as_a.jpg").write_bytes(content_of("new"))
    index = run()
    assert index.loc["a.jpg", "reason"] == "purged"
    rows = index.loc[["same_as_a.jpg"]].set_index("key")
    assert rows["status"].to_dict() == {key("a"): "withdrawn", key_of(content_of("new")): "kept"}


def test_the_next_download_changes_nothing_and_equals_one_from_scratch(project, tmp_path_factory):
    root, run = project
    purge_now(root, key("a"), key("c"))
    before = raw_files(root)
    run()
    assert raw_files(root) == before
    incremental = index_of(root).drop(columns=["shard", "offset"])
    for path in (root / "data/raw").iterdir():
        path.unlink()
    scratch = run().drop(columns=["shard", "offset"])
    pd.testing.assert_frame_equal(incremental, scratch)


def test_a_tombstone_from_another_clone_takes_effect_at_the_next_download(project):
    root, run = project
    write_purged(root / "data/purged.csv", [key("a")])
    assert set(run().loc[["a.jpg", "same_as_a.jpg"], "reason"]) == {"purged"}
    assert anywhere(root, content_of("a"), "data") == []


def test_a_key_taken_off_the_list_comes_back(project):
    root, run = project
    before = index_of(root)
    purge_now(root, key("a"))
    write_purged(root / "data/purged.csv", [])
    places = ["shard", "offset"]
    pd.testing.assert_frame_equal(run().drop(columns=places), before.drop(columns=places))
    assert anywhere(root, content_of("a"), "data") != []


FILES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("uvwxyz"), min_size=1)


@settings(max_examples=12)
@given(steps=st.lists(st.tuples(FILES, st.sets(st.sampled_from("abcd"))), min_size=1, max_size=4))
def test_whatever_is_purged_when_the_store_holds_the_rest_and_nothing_else(steps):
    values = read_values()
    values["download"]["sources"] = [FOLDER]
    params = check_params(values, Params)
    purged = set()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for files, names in steps:
            shutil.rmtree(root / "photos", ignore_errors=True)
            (root / "photos").mkdir()
            for name, letter in files.items():
                (root / "photos" / name).write_bytes(content_of(letter))
            download.run(root, params)
            keys = {key(files[name]) for name in names & set(files)}
            purge_keys(root, keys)
            purged |= keys
        download.run(root, params)
        index = index_of(root)
        status = {name: index.loc[[name], ["key", "status"]].values.tolist() for name in files}
        for name, letter in files.items():
            now = "withdrawn" if key(letter) in purged else "kept"
            assert [key(letter), now] in status[name]
        assert set(index.loc[index["key"].isin(purged), "reason"]) <= {"purged"}
        stored = index.dropna(subset="shard")
        members = [
            (Path(member).stem, path.name)
            for path in (root / "data/raw").glob("*.tar")
            for member in read_tar(path)
        ]
        assert sorted(members) == sorted(set(zip(stored["key"], stored["shard"], strict=True)))
        assert not purged & set(stored["key"])


def test_a_shard_of_nothing_else_goes_and_new_images_are_measured_again(project, params):
    root, run = project
    for name in ("b", "c", "d", "e", "f"):
        (root / "photos" / f"{name}.jpg").unlink()
    _, image = cv2.imencode(".png", np.arange(300 * 300 * 3, dtype=np.uint8).reshape(300, 300, 3))
    (root / "photos/z.png").write_bytes(image.tobytes())
    assert run().loc["z.png", "shard"] == "00001.tar"
    lenient = params.clean.model_copy(update={"max_failed_fraction": 1.0})
    params = params.model_copy(update={"clean": lenient})
    clean.run(root, params)
    assert [name[:32] for name in read_tar(root / "data/previews/00001.tar")] == [
        key_of(image.tobytes())
    ]
    purge_now(root, key_of(image.tobytes()))
    assert sorted(raw_files(root)) == ["00000.tar", "index.parquet"]
    assert [path.name for path in (root / "data/previews").iterdir()] == ["00000.tar"]
    assert key_of(image.tobytes()) not in set(tables.read_parts(root / "data/clean/parts")["key"])
    (root / "photos/y.png").write_bytes(image.tobytes() + b"tail")
    run()
    clean.run(root, params)
    parts = tables.read_parts(root / "data/clean/parts", ["key"])
    wanted = index_of(root)
    assert set(parts["key"]) == set(wanted.loc[wanted["status"] == "kept", "key"])


def test_published_files_are_never_opened_for_writing(project):
    root, _ = project
    links = root / "cache"
    links.mkdir()
    for path in (root / "data/raw").iterdir():
        os.link(path, links / path.name)
        path.chmod(0o444)
    before = {path.name: path.read_bytes() for path in links.iterdir()}
    purge_now(root, key("b"))
    assert {path.name: path.read_bytes() for path in links.iterdir()} == before


def test_unfinished_work_and_caches_go_and_what_is_harmless_stays(project):
    root, _ = project
    places = {
        "data/raw/.unfinished-00001.tar": False,
        "data/augmented/.unfinished-00000.tar": False,
        ".darkroom/train/features.npy": False,
        ".darkroom/review/thumbnails/a.jpg": False,
        ".darkroom/download/bodies/body": False,
        ".darkroom/download/parts/part": False,
        ".darkroom/download/shards/.unfinished-00001.tar": False,
        ".darkroom/fit/checkpoint": True,
        ".darkroom/scan/0.tsv": True,
    }
    for name in places:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content_of("a"))
    waiting = root / ".darkroom/download"
    bodies = journal.Journal(waiting)
    for letter in ("other", "b"):
        place = bodies.put(content_of(letter))
        bodies.record(letter * 32, journal.Outcome(key(letter), None, place))
    for number, letter in enumerate(["a", "other"]):
        member = (f"{key(letter)}.bin", content_of(letter))
        write_shard(waiting / "shards" / shard_name(number), [member])
    purge_now(root, key("a"))
    assert {name: (root / name).exists() for name in places} == places
    assert [path.name for path in (waiting / "bodies").iterdir()] == ["000000"]
    assert [path.name for path in (waiting / "shards").iterdir()] == ["00001.tar"]


@pytest.mark.parametrize(
    "name", [key("a"), key("a")[:8], key("a").upper()[:12], "photos:a.jpg", "photos:same_as_a.jpg"]
)
def test_an_image_is_named_by_key_prefix_or_record(project, name):
    root, _ = project
    purge_now(root, name)
    assert read_purged(root / "data/purged.csv") == {key("a")}


@pytest.mark.parametrize("name", ["0" * 32, key("a")[:7], "a.jpg", "", "photos:absent.jpg"])
def test_an_unknown_image_stops_before_anything_changes(project, name):
    root, _ = project
    before = raw_files(root)
    with pytest.raises(UserError, match="is unknown: expected a key"):
        purge_now(root, key("b"), name)
    assert raw_files(root) == before
    assert not (root / "data/purged.csv").exists()


def test_a_prefix_of_two_keys_is_refused():
    keys = ["12345678" + "0" * 24, "12345678" + "1" * 24]
    index = pd.DataFrame({"source": "s", "name": ["a", "b"], "key": keys})
    with pytest.raises(UserError, match="begins 2 keys"):
        find_keys(["12345678"], index, frozenset())
    assert find_keys(["123456781"], index, frozenset()) == keys[1:]


def test_an_absent_shard_is_said_and_nothing_changes(project):
    root, _ = project
    (root / "data/raw/00000.tar").unlink()
    with pytest.raises(UserError, match=r"00000.tar is absent .*dvc pull"):
        purge_now(root, key("a"))
    assert not (root / "data/purged.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "line 1: expected the heading"), ("key\nabc\n", "line 2: expected a key of 32")],
)
def test_a_damaged_list_stops_download(project, text, message):
    root, run = project
    (root / "data/purged.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        run()


def test_a_file_names_images_too(project, monkeypatch, caplog):
    root, _ = project
    (root / "keys.txt").write_text(f"# asked for by ann\n{key('a')}\n\nphotos:b.jpg\n")
    shutil.copy(PARAMS, root / "params.yaml")
    monkeypatch.chdir(root)
    with caplog.at_level(logging.INFO):
        assert run_command("purge", key("c")[:10], "--from", "keys.txt") == 0
    assert read_purged(root / "data/purged.csv") == {key("a"), key("b"), key("c")}
    assert "photos:a.jpg, photos:same_as_a.jpg" in caplog.text


def test_the_list_of_another_clone_is_applied_to_store_and_caches(project):
    root, _ = project
    write_purged(root / "data/purged.csv", [key("a"), "0" * 32])  # one that was never here
    (root / ".darkroom/dedupe").mkdir(parents=True)
    index = purge_now(root, *read_names(root / "data/purged.csv"))
    assert set(index.loc[["a.jpg", "same_as_a.jpg"], "reason"]) == {"purged"}
    assert not (root / ".darkroom/dedupe").exists()
    assert read_purged(root / "data/purged.csv") == {key("a"), "0" * 32}


# --- copies ---


@pytest.fixture
def related(project):
    """Let dedupe have found a~b~c copies, d a relative of c, e and f strangers."""
    root, _ = project
    pairs = [(key("a"), key("b"), True), (key("b"), key("c"), True), (key("e"), key("f"), False)]
    rows = [dict(zip(["key_a", "key_b", "duplicate"], row, strict=True)) for row in pairs]
    frame = pd.DataFrame(rows, columns=tables.PAIRS.names, dtype=object)
    tables.write_table(frame, root / "data/dedupe/pairs.parquet", tables.PAIRS, ["key_a"])
    families = dict(zip(NAMES, "xxxxef", strict=True))
    rows = [{"key": key(name), "family": family} for name, family in families.items()]
    groups = pd.DataFrame(rows, columns=tables.GROUPS.names, dtype=object)
    tables.write_table(groups, root / "data/dedupe/groups.parquet", tables.GROUPS)
    return root


def test_copies_that_stay_are_named(related, caplog):
    with caplog.at_level(logging.INFO):
        purge_now(related, key("a"))
    said = re.findall(r"purge: (\w+)[^\n]*: \w{32}  photos:(\w)\.jpg", caplog.text)
    assert sorted(said) == [("going", "a"), ("stays", "b"), ("stays", "c"), ("stays", "d")]


def test_copies_go_where_asked_for(related):
    purge_now(related, key("a"), with_copies=True)
    assert read_purged(related / "data/purged.csv") == {key(name) for name in "abc"}


def test_a_dry_run_says_what_would_go_and_changes_nothing(related, caplog):
    before = raw_files(related)
    with caplog.at_level(logging.INFO):
        purge_now(related, key("a"), with_copies=True, dry_run=True)
    assert "3 images, 4 records, in 1 shards" in caplog.text
    assert raw_files(related) == before
    assert not (related / "data/purged.csv").exists()


# --- killed ---

KILLED = """
import os, signal, sys, traceback
from pathlib import Path
from darkroom.purge.images import purge_images
from tests.harness import read_tar

def dying(method):
    def die(self, *args, **options):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return method(self, *args, **options)
    return die

for line in sys.stdin:
    if not (child := os.fork()):
        left = [int(line)]
        Path.replace, Path.unlink = dying(Path.replace), dying(Path.unlink)
        try:
            purge_images(Path.cwd(), [sys.argv[1]], False, False)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def kill_at(project):
    """Return a function that purges `a`, dies at a change on disk, and tells whether it died."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, key("a")], cwd=project[0], env=tool_environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(change):
        process.stdin.write(f"{change}\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        assert status in {0, -signal.SIGKILL}
        return status != 0

    yield run
    process.communicate()


@pytest.mark.parametrize("again", ["purge", "download"])
def test_killed_at_every_change_on_disk_a_rerun_ends_the_same(
    project, again, kill_at, tmp_path_factory
):
    root, run = project
    start = tmp_path_factory.mktemp("start") / "copy"
    shutil.copytree(root, start)
    purge_now(root, key("a"))
    wanted = raw_files(root)
    changes = 0
    while True:
        shutil.rmtree(root / "data")
        shutil.copytree(start / "data", root / "data")
        died = kill_at(changes)
        index = index_of(root)
        for row in index.dropna(subset="shard").itertuples():
            members = read_tar(root / "data/raw" / row.shard)  # no moment without its bytes
            assert key_of(members[f"{row.key}.bin"]) == row.key
        if not died:
            break
        if again == "purge" or not (root / "data/purged.csv").exists():
            purge_now(root, key("a"))
        else:
            run()
        assert raw_files(root) == wanted
        changes += 1
    assert changes >= 4  # list, shard, index, old shard


# --- to the end: DVC's cache and remote ---


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs a line in `repository`, and gives the stages that ran."""

    def run(line):
        ran = []
        for command in map(shlex.split, line.split("&&")):
            if command[0] == "dvc":
                ran += dvc_here(tmp_path / "repository", *command[1:])
            else:
                call(tmp_path / "repository", *command)
        return ran

    return run


def test_after_the_commands_that_it_names_nothing_is_left(
    tmp_path, patches, shell, caplog, monkeypatch
):
    photos, repository = tmp_path / "photos", tmp_path / "repository"
    write_rated(photos, patches[:40])
    write_bad_company(photos)
    source = {"kind": "folder", "path": str(photos), "labels": "ratings.csv"}
    make_repository(repository, source, train__epochs={"head": 1, "fine_tune": 0})
    shell(f"dvc remote add --default storage {tmp_path}/remote && dvc repro augment")
    shell("git add --all && git commit --quiet --message First && dvc push")

    contents = [(photos / name).read_bytes() for name in ("000.jpg", "007.jpg")]
    augmented = tables.read_table(repository / "data/augmented/index.parquet", tables.AUGMENTED)
    gone = {key_of(content) for content in contents}
    children = read_tar(repository / "data/augmented/00000.tar")
    contents += [children[f"{row.key}.png"] for row in augmented.itertuples() if row.parent in gone]
    assert len(contents) > 2
    everywhere = ("repository/data", "repository/metrics", "repository/.darkroom")
    cached = ("repository/.dvc", "remote")
    for place in ("repository/data", "repository/.dvc/cache", "remote"):
        assert all(anywhere(tmp_path, content, place) for content in contents)

    monkeypatch.chdir(repository)
    with caplog.at_level(logging.INFO):
        assert run_command("purge", *sorted(gone)) == 0
    assert not any(anywhere(tmp_path, c, "repository/data/raw") for c in contents)
    for line in re.findall(r"^  (\w[^#\n]*)", caplog.text, re.MULTILINE):
        shell(line)

    assert not any(anywhere(tmp_path, c, *everywhere, *cached) for c in contents)
    for path in [*repository.glob("data/**/*.parquet"), *repository.glob("data/**/*.tar")]:
        if path.suffix == ".tar":
            assert not gone & {name.partition(".")[0] for name in read_tar(path)}
        elif path.name not in {"index.parquet", "records.parquet"}:
            frame = tables.read_table(path)
            assert not frame.isin(gone).any(axis=None), path
    for path in (repository / "data/raw/index.parquet", repository / "data/dedupe/records.parquet"):
        frame = tables.read_table(path)
        rows = frame[frame["key"].isin(gone)]
        assert set(rows["status"]) == {"withdrawn"}
        assert sorted(rows["name"]) == ["000.jpg", "007.jpg", "copy.jpg"]
    assert shell("dvc repro") == ["scan"]
    assert (photos / "000.jpg").exists()
    assert len(index_of(repository).query("status == 'kept'")) == 42
    shell("dvc pull")
