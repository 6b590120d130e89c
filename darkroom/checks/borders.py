"""Borders of one colour: letterboxes, frames, scans on white."""

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 4  # grey levels that a border may vary by: JPEG noise and ringing


def border_score(grey: NDArray[np.uint8]) -> float:
    """Return the share of the area that is left when uniform borders are cut off.

    A row or column belongs to a border when its greys, and those of all between it and the edge,
    lie within 4 levels of the outermost row's mean. Rows are cut first, then columns, and
    all this twice, as a frame around a letterbox needs. An image of one grey has score 0.

    >>> boxed = np.random.default_rng(0).integers(0, 256, (100, 60), np.uint8)
    >>> boxed[:10] = boxed[-15:] = 0
    >>> border_score(boxed)
    0.75
    """
    once = cut(cut(grey).T).T
    inner = once if once.shape == grey.shape else cut(cut(once).T).T
    return inner.size / grey.size


def cut(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image without the uniform rows at its top and bottom."""
    top = uniform_rows(grey)
    return grey[top : len(grey) - uniform_rows(grey[top:][::-1])]


def uniform_rows(grey: NDArray[np.uint8]) -> int:
    """Return how many rows, from the first on, are as uniform as a border is."""
    if not grey.size:
        return 0
    if int(grey[0].max()) - int(grey[0].min()) > 2 * TOLERANCE:
        return 0  # nearly always: no need to look at the rest
    level = float(grey[0].mean())
    other = (grey.max(axis=1) > level + TOLERANCE) | (grey.min(axis=1) < level - TOLERANCE)
    return int(np.argmax(other)) if other.any() else len(grey)
