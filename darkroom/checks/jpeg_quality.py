"""How strongly a JPEG was compressed, from its quantisation tables."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

# Luminance, ITU-T T.81 (the JPEG standard), table K.1; libjpeg scales it by its `quality`.
_LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip
_QUALITIES = np.arange(1, 101)
_SCALES = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)[:, None]  # percent
_TABLES = np.clip((_LUMINANCE * _SCALES + 50) // 100, 1, 255)  # (100, 64), as libjpeg has them


def jpeg_quality_score(tables: Mapping[int, Sequence[int]] | None) -> float:
    """Return the quality, 0.01 to 1, at which libjpeg's luminance table is nearest to the file's.

    1 for a file that has no such tables. Of an image that was compressed twice only the last time
    shows.

    >>> jpeg_quality_score(None)
    1.0
    """
    return _nearest(tuple(tables[min(tables)])) if tables else 1.0


@lru_cache(maxsize=1024)  # a data set has few different tables
def _nearest(table: tuple[int, ...]) -> float:
    distances = np.abs(_TABLES - np.asarray(table)).sum(axis=1)
    best = np.flatnonzero(distances == distances.min())
    return int(_QUALITIES[best[-1]]) / 100
