"""What an unfinished download has fetched so far, safe against a kill at any moment.

In `.darkroom/download/`: `journal` says what became of each URL, one short line each, written after
the body; `bodies/` holds what waits for its shard; `parts/` what broke off, with the validator that
lets it go on; `shards/` the shards that are full (see `shelf`). URLs, which may hold passwords, are
known by a digest here. Nothing is synced per image: the page cache outlives a killed process. After
a power cut a body that is not what the journal says counts as never fetched, and so do parts.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from stages.lib.files import naming, write_text
from stages.lib.shards import key_of, read_places

JOURNAL, BODIES, PARTS, SHARDS = "journal", "bodies", "parts", "shards"
FAILED = "!"  # before the reason, where success has a key


class Spool:
    """The journal and the bodies of one download."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which need not exist yet."""
        self.folder = folder
        self._journal: int | None = None

    def outcomes(self) -> dict[str, str]:
        """Return, by digest, the key of what was fetched, or `!reason`; damaged lines are none."""
        try:
            lines = (self.folder / JOURNAL).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        words = (line.split(" ") for line in lines)
        return {word[0]: word[1] for word in words if len(word) == 3 and word[2] == "."}

    def note(self, digest: str, outcome: str) -> None:
        """Write down what became of a URL: a key, or `!reason`."""
        if self._journal is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._journal = os.open(self.folder / JOURNAL, flags, 0o644)
            os.write(self._journal, b"\n")  # ends a line that a power cut tore
        with naming(self.folder / JOURNAL):
            os.write(self._journal, f"{digest} {outcome} .\n".encode())

    def forget_failures(self) -> None:
        """Let everything that failed be tried again."""
        self.close()
        kept = {digest: note for digest, note in self.outcomes().items() if note[0] != FAILED}
        if kept:
            lines = (f"{digest} {note} .\n" for digest, note in kept.items())
            write_text(self.folder / JOURNAL, "".join(lines))
        else:
            (self.folder / JOURNAL).unlink(missing_ok=True)

    def body(self, digest: str) -> Path:
        """Return where a whole body waits."""
        return self.folder / BODIES / digest

    def holds(self, digest: str, key: str) -> bool:
        """Return whether the body is there, and what the journal says."""
        try:
            return key_of(self.body(digest).read_bytes()) == key
        except OSError:
            return False

    def put(self, digest: str, content: bytes) -> None:
        """Keep a whole body; it counts from the line in the journal on."""
        path = self.body(digest)
        try:
            handle = path.open("wb", buffering=0)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("wb", buffering=0)
        with naming(path), handle:
            _write(handle.fileno(), content)

    def complete(self, digest: str, part: "Part") -> None:
        """Make a body of a part that is whole."""
        path = self.body(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.path.replace(path)
        part.drop()

    def drop(self, digests: Iterable[str]) -> None:
        """Remove bodies that lie in a shard by now."""
        for digest in digests:
            self.body(digest).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the journal; it opens again when needed."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def clear(self) -> None:
        """Remove everything: it is published."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def part(self, digest: str) -> "Part":
        """Return what is there of a body that broke off."""
        return Part(self.folder / PARTS / digest)


class Part:
    """The beginning of a body, and the validator under which the server would send the rest."""

    def __init__(self, path: Path) -> None:
        """Look for the part at `path`."""
        self.path = path
        self._note = path.with_name(f"{path.name}.json")
        self.validator: str | None = None
        self.total: int | None = None  # the size of the whole, if the server said so
        self.size = 0
        if not self._note.exists():
            return
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(self._note.read_text())
            if note["boot"] == _boot():
                self.size = path.stat().st_size
                self.validator, self.total = str(note["validator"]), note["total"]

    def start(self, validator: str, total: int | None) -> None:
        """Begin anew, empty."""
        self.drop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        note = {"validator": validator, "total": total, "boot": _boot()}
        self._note.write_text(json.dumps(note))
        self.path.write_bytes(b"")
        self.validator, self.total = validator, total

    def append(self, content: bytes) -> None:
        """Add what came."""
        with naming(self.path), self.path.open("ab", buffering=0) as handle:
            _write(handle.fileno(), content)
        self.size += len(content)

    def read(self) -> bytes:
        """Return what is there."""
        return self.path.read_bytes()

    def drop(self) -> None:
        """Remove it."""
        if self.validator is not None:
            self._note.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        self.validator, self.total, self.size = None, None, 0


@cache
def _boot() -> str:
    """Return what changes when the machine starts: what was not synced by then may be lost.

    Empty where Linux does not say it.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def forget_images(folder: Path, purged: Collection[str]) -> None:
    """Remove from an unfinished download what is, or may be, one of these images."""
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    for path in (folder / BODIES).glob("*"):
        if key_of(path.read_bytes()) in purged:
            path.unlink()
    for path in (folder / SHARDS).glob("*"):
        whole = not path.name.startswith(".unfinished-")
        if not whole or any(key in purged for key, _ in read_places(path)):
            path.unlink()


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while len(view):
        view = view[os.write(descriptor, view) :]
