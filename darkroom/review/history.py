"""Decisions as they are made: saved at once, undone and redone through the session."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from darkroom.labels.decisions import Decision, Subject, parse, write_decisions

Changes = Mapping[Subject, Decision | None]  # None is no decision


class Step(NamedTuple):
    """What one action changed, and where on the page it was made."""

    before: Changes
    after: Changes
    where: str


class History:
    """The rows of `data/review.csv`, and the steps that led to them."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises UserError where it is broken."""
        self._path, self._content = path, b""
        self.rows: dict[Subject, Decision] = {}
        self.undo_stack: list[Step] = []
        self.redo_stack: list[Step] = []
        self.reload()

    def reload(self) -> set[str]:
        """Read the file again where another program changed it; return the keys concerned."""
        content = self._path.read_bytes() if self._path.exists() else b""
        if content == self._content:
            return set()
        rows = {row.subject: row for row in parse(content, str(self._path))}
        different = {row.subject for row in set(rows.values()) ^ set(self.rows.values())}
        self.rows, self._content = rows, content
        return keys_of(different)

    def decide(self, wanted: Changes, where: str) -> set[str]:
        """Make the decisions, None clearing one, as one step; return the keys concerned."""
        after = {subject: row for subject, row in wanted.items() if row != self.rows.get(subject)}
        if after:
            before = {subject: self.rows.get(subject) for subject in after}
            self._save(after)
            self.undo_stack.append(Step(before, after, where))
            self.redo_stack.clear()
        return keys_of(after)

    def undo(self) -> Step | None:
        """Take the last step back and return it; None where there is none."""
        if not self.undo_stack:
            return None
        self._save(self.undo_stack[-1].before)
        self.redo_stack.append(self.undo_stack.pop())
        return self.redo_stack[-1]

    def redo(self) -> Step | None:
        """Make the step that was taken back last again and return it."""
        if not self.redo_stack:
            return None
        self._save(self.redo_stack[-1].after)
        self.undo_stack.append(self.redo_stack.pop())
        return self.undo_stack[-1]

    def _save(self, values: Changes) -> None:
        rows = {**self.rows, **values}
        kept = {subject: row for subject, row in rows.items() if row is not None}
        write_decisions(self._path, kept.values())
        self.rows, self._content = kept, self._path.read_bytes()


def keys_of(subjects: Iterable[Subject]) -> set[str]:
    """Return the images that decisions are about."""
    return {key for subject in subjects for key in (subject.key, subject.other) if key}
