from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.labels.decisions import REVIEW, Decision, parse
from darkroom.review.history import History

A, B = "a" * 32, "b" * 32
KEEP, REJECT = Decision(A, "", "keep"), Decision(A, "", "reject")
SAME, APART = Decision(A, B, "duplicate"), Decision(A, B, "not_duplicate")
CAT, DOG = Decision(A, "", "label", "cat"), Decision(B, "", "label", "dog")

one = st.sampled_from([KEEP, REJECT, SAME, APART, CAT, DOG])
changes = st.lists(st.tuples(one, st.booleans()), min_size=1, max_size=3).map(
    lambda rows: {row.subject: None if cleared else row for row, cleared in rows}
)
moves = st.lists(st.one_of(changes, st.sampled_from(["undo", "redo"])), max_size=12)


@given(moves)
def test_the_file_is_always_what_was_decided_and_all_can_be_undone(moves):
    with TemporaryDirectory() as folder:
        path = Path(folder) / REVIEW
        history, before = History(path), []
        for move in moves:
            if move == "undo":
                undone = history.undo()
                assert (undone is None) == (not before)
                if before:
                    assert history.rows == before.pop()
            elif move == "redo":
                rows = dict(history.rows)
                if history.redo():
                    before.append(rows)
            else:
                rows = dict(history.rows)
                if history.decide(move, "here"):
                    before.append(rows)
                    assert not history.redo_stack
            if path.exists():
                assert parse(path.read_bytes(), "") == sorted(history.rows.values())
        while history.undo():
            pass
        assert history.rows == {}


def test_a_decision_that_changes_nothing_is_no_step(tmp_path):
    history = History(tmp_path / REVIEW)
    assert history.decide({KEEP.subject: KEEP}, "here") == {A}
    assert history.decide({KEEP.subject: KEEP}, "here") == set()
    assert len(history.undo_stack) == 1


def test_the_next_session_begins_with_what_the_last_one_decided(tmp_path):
    History(tmp_path / REVIEW).decide({SAME.subject: SAME}, "here")
    history = History(tmp_path / REVIEW)
    assert history.rows == {SAME.subject: SAME}
    assert history.undo() is None


def test_notes_of_others_survive(tmp_path):
    path = tmp_path / REVIEW
    path.parent.mkdir()
    path.write_text(f"key,decision,note\n{B},reject,blurred\n")
    History(path).decide({KEEP.subject: KEEP}, "here")
    assert f"{B},,reject,,blurred" in path.read_text()


def test_a_broken_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / REVIEW
    path.parent.mkdir()
    path.write_text("key,decision\nx,keep\n")
    with pytest.raises(UserError, match="line 2"):
        History(path)
    assert path.read_text() == "key,decision\nx,keep\n"
