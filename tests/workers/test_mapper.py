import ctypes
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.params.engine import EngineParams
from darkroom.core.progress import Progress
from darkroom.workers import mapper
from darkroom.workers.mapper import ShardTask, map_shards

LONG_S = 3600  # beyond what any image here takes on the busiest machine
SCHEMA = tables._schema(key=tables._TEXT, value=tables._TEXT)


damaged: list[str] = []  # what a decoder broke in this process, to be felt by a later image


def work(task: ShardTask) -> None:
    """Write each image's text in capitals; the time of one that hangs is up at once."""
    rows = [(key, reason) for key, reason in task.poisoned.items()]
    for key, content in task.images():
        with task.guard(key, 0 if content.startswith(b"hang") else LONG_S):
            if content.startswith(b"crash"):
                os._exit(11)
            if content.startswith(b"segfault"):
                os.kill(os.getpid(), signal.SIGSEGV)
            if content.startswith(b"hang"):
                ctypes.PyDLL(None).sleep(3600)  # C code that holds the interpreter lock
            if content.startswith(b"slow"):
                time.sleep(0.5)
            if content.startswith(b"damage"):
                damaged.append(key)
            if content.startswith(b"fragile") and damaged:
                os.kill(os.getpid(), signal.SIGABRT)
            if (
                content.startswith(b"killed once")
                and not (mark := task.scratch.parent / key).exists()
            ):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if content.startswith(b"error"):
                raise UserError("wrong setting")
        rows.append((key, content.decode().upper()))
    tables.write_table(pd.DataFrame(rows, columns=SCHEMA.names), task.part, SCHEMA)


def allocate(task: ShardTask) -> None:
    """Reserve and use as many MiB as each image says, at most `settings` bytes of them."""
    rows = []
    for key, content in task.images():
        with task.guard(key, LONG_S, task.settings):
            try:
                value = str(len(bytearray(int(content) * 2**20)) >> 20)
            except MemoryError:
                value = "too much"
        rows.append((key, value))
    rows.append(("after", str(len(bytearray(400 * 2**20)) >> 20)))  # nothing is limited any more
    tables.write_table(pd.DataFrame(rows, columns=SCHEMA.names), task.part, SCHEMA)


def die_at_once(task: ShardTask) -> None:
    os._exit(1)


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr(mapper, "SECONDS_PER_CHECK", 0.01)


@pytest.fixture
def build(tmp_path):
    def build_shards(*contents: list[bytes]) -> pd.DataFrame:
        rows = []
        for number, members in enumerate(contents):
            named = [(f"{shards.key_of(content)}.bin", content) for content in members]
            places = shards.write_shard(tmp_path / "raw" / shards.shard_name(number), named)
            rows += [(name[:32], *place) for (name, _), place in zip(named, places, strict=True)]
        return pd.DataFrame(rows, columns=["key", "shard", "offset", "size"])

    return build_shards


def bring_up_to_date(root: Path, stored, *, function=work, workers=1, version="1", limit=None):
    map_shards(
        function, stored, root / "raw", root / "out", root / "scratch", limit, version,
        EngineParams(kind="local", workers=workers), Progress("test", len(stored)),
    )  # fmt: skip
    return tables.read_parts(root / "out", SCHEMA.names)


def contents_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "out").iterdir())}


def test_one_worker_equals_many(tmp_path, build):
    stored = build([b"a", b"b"], [b"c"], [b"d", b"e", b"f"])
    frame = bring_up_to_date(tmp_path, stored)
    once = contents_of(tmp_path)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    bring_up_to_date(tmp_path, stored, workers=3)
    assert sorted(frame["value"]) == list("ABCDEF")
    assert contents_of(tmp_path) == once


def test_incremental_equals_from_scratch_and_computes_only_what_is_new(tmp_path, build, in_process):
    stored = build([b"a"], [b"b"])
    bring_up_to_date(tmp_path, stored[:1])
    first = (tmp_path / "out" / "00000.parquet").stat().st_mtime_ns
    bring_up_to_date(tmp_path, stored)
    assert (tmp_path / "out" / "00000.parquet").stat().st_mtime_ns == first
    incremental = contents_of(tmp_path)
    bring_up_to_date(tmp_path, stored, version="2")
    assert (tmp_path / "out" / "00000.parquet").stat().st_mtime_ns != first
    bring_up_to_date(tmp_path, stored, version="1")
    assert contents_of(tmp_path) == incremental


def test_a_part_without_shard_goes(tmp_path, build, in_process):
    stored = build([b"a"], [b"b"])
    bring_up_to_date(tmp_path, stored)
    frame = bring_up_to_date(tmp_path, stored[:1])
    assert list(frame["value"]) == ["A"]
    assert sorted(contents_of(tmp_path)) == ["00000.json", "00000.parquet"]


def test_each_death_costs_one_image_and_no_innocent_one(tmp_path, build):
    stored = build(
        [b"a", b"crash", b"b", b"segfault", b"c"], [b"slow 1", b"slow 2", b"slow 3"], [b"d"]
    )
    frame = bring_up_to_date(tmp_path, stored, workers=2).set_index("key")["value"]
    crashed = {shards.key_of(b"crash"), shards.key_of(b"segfault")}
    assert set(frame[frame == "decoder_crashed"].index) == crashed
    assert sorted(frame[frame != "decoder_crashed"]) == [
        "A", "B", "C", "D", "SLOW 1", "SLOW 2", "SLOW 3",
    ]  # fmt: skip
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_worker_that_the_system_ends_costs_no_image(tmp_path, build):
    frame = bring_up_to_date(tmp_path, build([b"a", b"killed once", b"b"]))
    assert sorted(frame["value"]) == ["A", "B", "KILLED ONCE"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_damage_that_an_earlier_image_did_ends_with_one_row_and_not_in_a_circle(tmp_path, build):
    stored = build([b"damage", b"a", b"fragile 1", b"b"])
    values = bring_up_to_date(tmp_path, stored)["value"]
    assert sorted(values) == ["A", "B", "DAMAGE", "decoder_crashed"]


def test_one_image_may_take_so_much_memory_and_no_more(tmp_path, build):
    stored = build([b"1", b"600", b"100", b"5000", b"2"])
    frame = bring_up_to_date(tmp_path, stored, function=allocate, limit=300 * 2**20)
    assert sorted(frame["value"]) == ["1", "100", "2", "400", "too much", "too much"]


def test_a_hang_that_holds_the_interpreter_is_ended_and_named(tmp_path, build):
    frame = bring_up_to_date(tmp_path, build([b"a", b"hang", b"b"]))
    hung = frame.set_index("key")["value"][shards.key_of(b"hang")]
    assert (hung, sorted(frame["value"])) == ("decoder_hung", ["A", "B", "decoder_hung"])


def test_a_note_left_by_a_killed_run_blames_nobody(tmp_path, build):
    stored = build([b"a", b"crash"])
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "00000.tar.current").write_text(shards.key_of(b"a"))
    frame = bring_up_to_date(tmp_path, stored)
    assert sorted(frame["value"]) == ["A", "decoder_crashed"]


def test_a_worker_that_dies_before_any_image_stops_with_a_remedy(tmp_path, build):
    with pytest.raises(UserError, match=r"engine\.workers"):
        bring_up_to_date(tmp_path, build([b"a"]), function=die_at_once)


def test_an_error_of_the_function_is_raised_and_finished_shards_stay(tmp_path, build, in_process):
    stored = build([b"a"], [b"error"], [b"b"])
    with pytest.raises(UserError, match="wrong setting"):
        bring_up_to_date(tmp_path, stored)
    assert sorted(contents_of(tmp_path)) == ["00000.json", "00000.parquet"]
