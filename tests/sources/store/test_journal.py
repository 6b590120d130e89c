"""The journal of an interrupted download: torn lines, files of bodies."""

from pathlib import Path

from darkroom.core.shards import Location, key_of
from darkroom.sources.store import journal as module
from darkroom.sources.store.journal import Journal, Outcome


def test_a_torn_journal_is_read_as_far_as_it_holds(tmp_path):
    journal, stored = Journal(tmp_path), Outcome("b" * 32, None, Location("000000", 3, 5))
    failed = Outcome(None, "http_404")
    journal.record("a" * 32, stored)
    journal.close()
    with Path(tmp_path / "journal").open("ab") as handle:
        handle.write(b"c" * 32 + b" !time")  # a power cut
    journal.record("d" * 32, failed)
    assert journal.outcomes() == {"a" * 32: stored, "d" * 32: failed}
    journal.forget_failures()
    assert journal.outcomes() == {"a" * 32: stored}


def test_files_of_bodies_go_when_all_in_them_went(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE_BYTES", 10)
    journal = Journal(tmp_path)
    bodies = [b"%03d" % number for number in range(9)]
    outcomes = [Outcome(key_of(body), None, journal.put(body)) for body in bodies]
    assert [journal.read(outcome) for outcome in outcomes] == bodies
    assert all(journal.holds(outcome) for outcome in outcomes)
    names = [path.name for path in sorted(journal.bodies.iterdir())]
    assert names == ["000000", "000001", "000002"]
    journal.drop(outcomes[1:])
    assert [path.name for path in sorted(journal.bodies.iterdir())] == ["000000", "000002"]
    assert journal.holds(outcomes[0])
    later = Journal(tmp_path)
    later.adopt([outcomes[0]])
    assert [path.name for path in journal.bodies.iterdir()] == ["000000"]
    assert later.put(b"new").shard == "000001"  # never behind what another run wrote
