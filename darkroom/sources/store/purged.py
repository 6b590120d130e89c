"""The tombstones of takedown requests: keys whose bytes are never stored again.

They lie in `data/purged.csv`, one key per line under the heading `key`, sorted, tracked by git.
"""

import re
from collections.abc import Collection
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.files import write_text

PURGED = Path("data/purged.csv")
HEADING = "key"
_KEY = re.compile(r"[0-9a-f]{32}")


def read_purged(path: Path) -> frozenset[str]:
    """Return the keys in the list, none without a list. Raises UserError for any other line."""
    if not path.exists():
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: expected UTF-8, got {error.reason} at byte {error.start}; save it as UTF-8"
        ) from error
    if not lines or lines[0].strip() != HEADING:
        raise UserError(f"{path}: line 1: expected the heading `{HEADING}`; put it back")
    keys = [line.strip() for line in lines[1:] if line.strip()]
    for number, key in enumerate(keys, 2):
        if not _KEY.fullmatch(key):
            raise UserError(
                f"{path}: line {number}: expected a key of 32 hexadecimal digits, got {key!r}; "
                "correct or remove it"
            )
    return frozenset(keys)


def write_purged(path: Path, keys: Collection[str]) -> None:
    """Publish the list."""
    write_text(path, "\n".join([HEADING, *sorted(keys)]) + "\n")
