"""Which images are meant: by key, by its first digits, as SOURCE:NAME, or in a file of these."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.sources.store.purged import HEADING

MIN_DIGITS = 8
KEY_DIGITS = 32


def find_keys(wanted: Iterable[str], index: pd.DataFrame, purged: frozenset[str]) -> list[str]:
    """Return the keys that `wanted` names. Raises UserError for what is unknown or ambiguous."""
    known = sorted({*index["key"].dropna(), *purged})
    by_name: dict[str, set[str]] = {}
    for row in index[index["key"].notna()].itertuples():
        by_name.setdefault(f"{row.source}:{row.name}", set()).add(str(row.key))
    named: set[str] = set()
    for text in wanted:
        keys = by_name.get(text) or _with_prefix(text, known)
        if not keys:
            raise UserError(
                f"purge: {text!r} is unknown: expected a key of data/raw/index.parquet "
                f"({KEY_DIGITS} hexadecimal digits), at least its first {MIN_DIGITS}, or "
                "SOURCE:NAME as there"
            )
        named |= keys
    return sorted(named)


def _with_prefix(text: str, known: list[str]) -> set[str]:
    if len(text) < MIN_DIGITS:
        return set()
    keys = {key for key in known if key.startswith(text.lower())}
    if len(keys) > 1:
        some = " and ".join(sorted(keys)[:2])
        raise UserError(f"purge: {text!r} begins {len(keys)} keys, as {some}; give more digits")
    return keys


def read_names(path: Path) -> list[str]:
    """Return the names in a file, one per line, as also in `data/purged.csv`.

    Empty lines, those of a `#` and the heading are left out.
    """
    if not path.is_file():
        raise UserError(f"purge: --from: there is no file {path}")
    lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    names = [line for line in lines if line and line != HEADING and not line.startswith("#")]
    if not names:
        raise UserError(f"purge: --from: {path} names no image; expected one per line")
    return names
