"""Images in shards, read, decoded and filtered when asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from darkroom.core import shards
from darkroom.filters.preprocess import Step, preprocess
from darkroom.images.decode import Pixels, decode
from darkroom.images.grey_range import GreyRange


class StoredImages(Sequence[Pixels]):
    """Images that are read from their shards, decoded and prepared, when asked for."""

    def __init__(
        self, root: Path, rows: pd.DataFrame, steps: Sequence[Step] = (),
        min_side: int | None = None, *, max_pixels: int,
        grey_range: GreyRange | None = None,
    ) -> None:  # fmt: skip
        """Take the rows: `folder` below root, `shard`, `offset`, `size`; and the filters.

        `max_pixels`, `min_side` and `grey_range` are those of `decode`.
        """
        self._root, self._steps = root, steps
        self._limits = max_pixels, min_side, grey_range
        self._places = list(rows[["folder", "shard", "offset", "size"]].itertuples(index=False))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._places)

    def __getitem__(self, position: Any) -> Any:
        """Read, decode and prepare one image. Raises DecodeError."""
        folder, shard, offset, size = self._places[position]
        place = shards.Location(shard, int(offset), int(size))
        content = shards.read_member(self._root / folder, place)
        return preprocess(decode(content, *self._limits), self._steps)
