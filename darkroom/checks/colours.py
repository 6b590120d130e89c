"""Whether an image shows colour, and whether one colour lies over all of it."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.images.decode import Pixels

TINT = 4  # levels between two channels of a pixel that still count as grey: invisible
CAST_SPAN = 20.0  # units of CIELAB over which the score of a cast falls from 1 to 0


def colour_score(channels: Sequence[NDArray[np.uint8]]) -> float:
    """Return the share of pixels whose red, green and blue differ by more than 4 levels.

    >>> colour_score([np.full((2, 2), level, np.uint8) for level in (90, 94, 90)])
    0.0
    """
    red, green, blue = channels
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    return float(np.count_nonzero(spread > TINT) / spread.size)


def cast_score(pixels: Pixels) -> float:
    """Return 1 - (μ - σ) / 20, at most 1 and at least 0, over an image: (height, width, 3) RGB.

    μ is the distance of the mean colour from grey in the a*b* plane of CIELAB, σ the spread of the
    colours around it. Colours of a scene surround grey; where they lie to one side of it, further
    than they spread, a colour lies over all. After F. Gasparini and R. Schettini, Color balancing
    of digital photos using simple image statistics, Pattern Recognition 37 (2004), whose detector
    asks for μ - σ above 10. A scene of one colour looks the same: such a flag informs.

    >>> cast_score(np.full((4, 4, 3), 90, np.uint8))
    1.0
    """
    _, *plane = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB))
    means, spreads = zip(*(cv2.meanStdDev(axis) for axis in plane), strict=True)
    distance = float(np.hypot(means[0].item() - 128, means[1].item() - 128))  # 128 is grey
    beyond = distance - float(np.hypot(spreads[0].item(), spreads[1].item()))
    return min(max(1 - beyond / CAST_SPAN, 0.0), 1.0)
