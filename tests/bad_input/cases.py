"""What a bad input is in these tests: how it is made, what is run, and the message.

In the texts ROOT stands for the repository, and … for anything, a number or a line that moves.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from darkroom.core.errors import UserError
from darkroom.core.explain import explain
from darkroom.core.params.load import load_params
from darkroom.core.tables import read_table
from stages import clean, download, scan
from tests import harness

PARAMS = harness.PARAMS.read_text()
STAGES = {"scan": scan, "download": download, "clean": clean}
PHOTOS = {"kind": "folder", "path": "photos"}


@dataclass(frozen=True)
class Case:
    """One bad input; `says` is the message that stops the stage, or a line of the log."""

    id: str
    says: str
    make: Callable[[Path], None]
    stages: str = "scan download"
    warns: bool = False  # the run goes on, and the log says it


@dataclass(frozen=True)
class Rows:
    """Bad images, members or URLs of one source, each of which ends as a row."""

    id: str
    source: dict[str, str]
    files: dict[str, str | bytes]
    expected: dict[str, tuple[str, str | None]]  # name, … being anything → status, reason
    stages: str = "scan download"
    changes: dict[str, object] = field(default_factory=dict)


def case(id, says, *sources, files=None, then=None, stages="scan download", warns=False, **changes):
    """Return a case of `sources` in params.yaml, with files below the root; then comes `then`."""

    def make(root):
        write_sources(root, sources or (PHOTOS,), changes)
        (root / "photos").mkdir(exist_ok=True)
        put(root, files or {})
        if then is not None:
            then(root)

    return Case(id, says, make, stages, warns)


def write_sources(root, sources, changes):
    """Write params.yaml; `changes` are dotted keys with `__` for a dot."""
    values = yaml.safe_load(_plain_params())
    values["download"]["sources"] = list(sources)
    for key, value in changes.items():
        section, name = key.split("__")
        values[section][name] = value
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


@cache
def _plain_params():
    """Return the tests' settings on few lines, for quick reading."""
    values = yaml.safe_load(PARAMS)
    values["engine"]["workers"] = 1
    values["download"]["retries"] = 0
    return yaml.safe_dump(values, default_flow_style=True)


def put(root, files):
    """Write files, text or bytes, by their path below the root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def run(root, stages):
    """Run stages as a script would; return the message to the user, None when nothing stops."""
    try:
        for stage in stages.split():
            STAGES[stage].run(root, load_params(root, STAGES[stage].Params))
    except (UserError, OSError) as error:
        return explain(error).replace(str(root), "ROOT")
    return None


def run_rows(root, rows):
    """Return status and reason of each record, by name: of download, or of clean where it ran."""
    write_sources(root, [rows.source], rows.changes)
    put(root, rows.files)
    message = run(root, rows.stages)
    if message is not None:
        raise AssertionError(message)
    index = read_table(root / download.TARGET / "index.parquet")
    found = {row.name: (row.status, row.reason, row.key) for row in index.itertuples(index=False)}
    decided = {}
    if "clean" in rows.stages:
        summary = read_table(root / clean.TARGET)
        decided = {row.key: (row.status, row.reason) for row in summary.itertuples(index=False)}
    both = {name: decided.get(key, (status, why)) for name, (status, why, key) in found.items()}
    return {name: (status, None if pd.isna(why) else why) for name, (status, why) in both.items()}


def matches(says, message):
    """Return whether the text is the one expected, … being anything."""
    pattern = ".*".join(re.escape(part) for part in says.split("…"))
    return re.fullmatch(pattern, message, re.DOTALL) is not None
