"""Which split each group goes to: by its hash, but for shares and small classes.

- Earlier decisions stand; what follows concerns new groups alone.
- Groups so large that one of them spoils the shares go, largest first, where most room is left.
- All others go by a number in [0, 1) from their hash, so that more images rarely change a thing.
- Small strata: train comes first (an image of each, two where there are three), then test, then
  validation.
- While a split is further off its share than `TOLERANCE`, a group moves from the fullest split to
  the emptiest, of the stratum that has most to spare there.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.labels.official_splits import SPLITS

TOLERANCE = 0.03  # of all images, by which a split may be off its share
TRAIN, VALIDATION, TEST = range(3)  # as in SPLITS
FIRST = (TRAIN, TEST, VALIDATION)  # what comes first where there is too little for all
BY_PLACE = (TEST, VALIDATION, TRAIN)  # from 0 to 1: a larger `split.test` takes none from test


def allocate(
    pool: pd.DataFrame, shares: NDArray[np.float64], earlier: Mapping[str, str]
) -> dict[str, str]:
    """Return the split of each `split_group` of the pool, which has `place` and `stratum`, too.

    `shares` (3,) are those of SPLITS and sum to 1; `earlier` are decisions that stand.
    """
    state = _Allocation(pool, shares, earlier)
    state.draw()
    state.cover_strata()
    state.balance()
    return dict(zip(state.names, np.array(SPLITS)[state.split], strict=True))


class _Allocation:
    """Groups in their splits, and how many images of each stratum that makes."""

    def __init__(
        self, pool: pd.DataFrame, shares: NDArray[np.float64], earlier: Mapping[str, str]
    ) -> None:
        group, names = pd.factorize(pool["split_group"], sort=True)
        stratum = pd.factorize(pool["stratum"], sort=True)[0] + 1  # 0: has none
        strata = stratum.max(initial=0) + 1
        cell, self.cell_images = np.unique(group * strata + stratum, return_counts=True)
        self.cell_group, self.cell_stratum = np.divmod(cell, strata)
        self.start = np.searchsorted(self.cell_group, np.arange(len(names) + 1))
        self.names, self.shares, self.total = list(names), shares, len(pool)
        self.size = np.bincount(group, minlength=len(names))
        self.place = np.empty(len(names))
        self.place[group] = pool["place"]
        self.main = np.empty(len(names), int)  # the stratum that most of a group is of
        order = np.argsort(self.cell_images, kind="stable")
        self.main[self.cell_group[order]] = self.cell_stratum[order]
        known = [SPLITS.index(earlier[name]) if name in earlier else -1 for name in names]
        self.split = np.array(known, int)  # -1: not decided
        self.new = self.split < 0
        self.of_stratum = np.bincount(stratum, minlength=strata)
        self.counts = np.zeros((len(SPLITS), strata), int)
        # how many images of each stratum a split should have at least; without a stratum, none
        self.least = np.ones_like(self.counts)
        self.least[TRAIN] += self.of_stratum >= 3
        self.least[:, 0] = self.least[shares == 0] = 0

    def draw(self) -> None:
        """Place every new group: the large ones where there is room, the others by their hash."""
        room = np.where(self.shares > 0, self.shares * self.total, -np.inf)
        large = self.size > TOLERANCE * self.total
        known = ~self.new
        taken = np.bincount(self.split[known], self.size[known], len(SPLITS))
        order = np.lexsort((self.place, -self.size))
        for group in order[(large & self.new)[order]]:
            self.split[group] = np.argmax(room - taken)
            taken[self.split[group]] += self.size[group]
        room -= np.bincount(self.split[large], self.size[large], len(SPLITS))
        room = np.maximum(room, 0)
        shares = room / room.sum() if large.any() and room.sum() > 0 else self.shares
        ends = np.cumsum(shares[list(BY_PLACE)])[:-1]
        by_hash = np.array(BY_PLACE)[np.searchsorted(ends, self.place, side="right")]
        self.split = np.where(self.split < 0, by_hash, self.split)
        np.add.at(self.counts, (self.split[self.cell_group], self.cell_stratum), self.cell_images)

    def cover_strata(self) -> None:
        """Bring each stratum into each split, as far as its groups reach."""
        order = np.argsort(self.cell_stratum, kind="stable")
        ends = np.cumsum(np.bincount(self.cell_stratum, minlength=len(self.of_stratum)))
        members = np.split(self.cell_group[order], ends[:-1])
        for to in FIRST:
            for stratum in np.flatnonzero(self.counts[to] < self.least[to]):
                movable = members[stratum][self.new[members[stratum]]]
                # of the smallest groups that of the lowest hash
                for group in sorted(movable, key=lambda g: (self.size[g], self.place[g])):
                    if self.counts[to, stratum] >= self.least[to, stratum]:
                        break
                    if self.split[group] != to and self._can_spare(group, to):
                        self._move(group, to)

    def _cells(self, group: int) -> slice:
        return slice(self.start[group], self.start[group + 1])

    def _can_spare(self, group: int, to: int) -> bool:
        """Return whether its split has enough without this group, or comes after `to`."""
        cells, of = self._cells(group), self.split[group]
        left = self.counts[of, self.cell_stratum[cells]] - self.cell_images[cells]
        after = FIRST.index(of) > FIRST.index(to)
        return after or bool((left >= self.least[of, self.cell_stratum[cells]]).all())

    def _move(self, group: int, to: int) -> None:
        cells = self._cells(group)
        self.counts[self.split[group], self.cell_stratum[cells]] -= self.cell_images[cells]
        self.counts[to, self.cell_stratum[cells]] += self.cell_images[cells]
        self.split[group] = to

    def balance(self) -> None:
        """Move groups until each split has its share, or no move brings one nearer to it."""
        while True:
            off = self.counts.sum(axis=1) - self.shares * self.total  # images, (3,)
            if np.abs(off).max() <= TOLERANCE * self.total:
                return
            over, under = (np.flatnonzero(side).tolist() for side in (off > 0, off < 0))
            ways = [(off[a] - off[b], a, b) for a in over for b in under]
            for gap, of, to in sorted(ways, reverse=True):
                group = self._spare(of, to, gap, max(off[of], -off[to]))
                if group is not None:
                    self._move(group, to)
                    break
            else:
                return

    def _spare(self, of: int, to: int, gap: float, wanted: float) -> int | None:
        """Return the group whose move brings both splits nearer to their shares, if any does."""
        if self.shares[to] == 0 or self.shares[of] * self.total < self.size.min(initial=1):
            return None  # a split smaller than any group has what its strata need
        left = self.counts[of, self.cell_stratum] - self.cell_images
        needed = left < (self.least[of, self.cell_stratum] if of == TRAIN else 0)
        movable = self.new & (self.split == of) & (self.size < gap)
        movable &= self.size < self.counts[of].sum()  # none is emptied
        movable[self.cell_group[needed]] = False
        if (movable & (self.size <= wanted)).any():
            movable &= self.size <= wanted
        groups = np.flatnonzero(movable)
        if not len(groups):
            return None
        surplus = self.counts[of] - self.counts[to]
        surplus = surplus - (self.shares[of] - self.shares[to]) * self.of_stratum
        return int(groups[np.lexsort((self.place[groups], -surplus[self.main[groups]]))[0]])
