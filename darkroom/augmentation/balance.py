"""How many new images each original gets: evenly, or first to what is rare."""

from collections.abc import Hashable, Mapping

import numpy as np
from numpy.typing import NDArray


def share_out(parents: Mapping[str, Hashable], target: int) -> dict[str, int]:
    """Return the variants of each parent so that originals and variants together are `target`.

    `parents` maps each key to its stratum (its class, its score bin; one for all: no balance).
    Rare strata are filled first: to the level at which the images are used up, so that none that
    was filled ends more than one image above one that was not. Within a stratum parents differ by
    one at most; those of lower key have one more. There is at least one parent, and `target` is no
    lower than their number.

    >>> share_out({"a": "cat", "b": "cat", "c": "cat", "d": "dog"}, 6)
    {'a': 0, 'b': 0, 'c': 0, 'd': 2}
    """
    members: dict[Hashable, list[str]] = {}
    for key in sorted(parents):
        members.setdefault(parents[key], []).append(key)
    strata = sorted(members, key=lambda stratum: members[stratum][0])
    counts = np.array([len(members[stratum]) for stratum in strata])
    each: dict[str, int] = {}
    for stratum, new in zip(strata, _fill(counts, target) - counts, strict=True):
        keys = members[stratum]
        all_get, more = divmod(int(new), len(keys))
        each |= {key: all_get + (turn < more) for turn, key in enumerate(keys)}
    return {key: each[key] for key in sorted(each)}


def _fill(counts: NDArray[np.int64], target: int) -> NDArray[np.int64]:
    """Return the sizes after filling the smallest up to a common level, `target` in all."""
    level = int(counts.min())
    while np.maximum(counts, level + 1).sum() <= target:
        # As far as the images reach for those below the next larger size, in one step.
        below = counts <= level
        larger = counts[~below].min(initial=np.iinfo(np.int64).max)
        reach = (target - counts[~below].sum()) // below.sum()
        level = int(min(larger, reach))
    filled = np.maximum(counts, level)
    rest = target - int(filled.sum())
    raised = np.flatnonzero(counts <= level)[:rest]
    filled[raised] += 1
    return filled
