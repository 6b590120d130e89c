"""What becomes black and what white of deep greys: for the whole set, so that images compare.

A file of 16 bits often holds 10, 12 or 14. Clean notes the largest value of each (`largest_grey`);
the bits that hold all of a set's make its range, unless `clean.grey_range` says it. Whoever decodes
originals takes the range that clean wrote. Without one, 16 bits count as 16.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from darkroom.core.files import write_json

FILE = Path("data/clean/grey_range.json")


class GreyRange(NamedTuple):
    """What becomes black and white; a `given` one holds for 32 bits and floating point, too."""

    black: float
    white: float
    given: bool = False


SIXTEEN_BITS = GreyRange(0, 65535)


def find_range(largest: Iterable[int]) -> GreyRange:
    """Return the range of as many bits as the largest values of a set need, at least 8."""
    bits = max(8, max(largest, default=65535).bit_length())
    return GreyRange(0, 2**bits - 1)


def write_range(root: Path, found: GreyRange | None) -> None:
    """Write the range of a set, None for one without deep greys."""
    write_json(root / FILE, None if found is None else found._asdict())


def read_range(root: Path) -> GreyRange | None:
    """Return the range that clean wrote, None for a set without deep greys."""
    path = root / FILE
    known = json.loads(path.read_bytes()) if path.exists() else None
    return None if known is None else GreyRange(**known)
