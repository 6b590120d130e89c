"""How sharp an image is, by the definition of cleanvision 0.3.7."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darkroom.checks.exposure import histogram

SIDE_PX = 64  # cleanvision: MAX_RESOLUTION_FOR_BLURRY_DETECTION
FACTOR = 0.01  # cleanvision: normalizing_factor of blurry
COLOUR_THRESHOLD = 0.18  # cleanvision: color_threshold of blurry
GAP = (
    2.0  # Pillow then halves by boxes first: half the time, 1 score in 300 moves by more than 0.02
)

_EDGES = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)  # Pillow's FIND_EDGES


def blurry_score(grey: NDArray[np.uint8]) -> float:
    """Return 1 - exp(-0.01 σ) of a grey image (height, width), plus a bonus, at most 1.

    σ is the deviation of the Laplacian after bicubic resizing to a long side of 64 px, so that an
    image is measured as seen from afar. The bonus, 1 - exp(-0.01 s) where it is above 0.18, with
    s the deviation of the counts of the grey levels, spares flat drawings: few edges, few greys.
    """
    small = shrink(grey)
    edges = 1 - float(np.exp(-FACTOR * cv2.meanStdDev(laplacian(small))[1].item()))
    spread = cv2.meanStdDev(histogram(small))[1].item()
    bonus = 1 - float(np.exp(-FACTOR * spread))
    return min(edges + (bonus if bonus > COLOUR_THRESHOLD else 0), 1.0)


def shrink(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize to a long side of 64 px, as Pillow does for cleanvision; smaller ones stay."""
    ratio = max(grey.shape) / SIDE_PX
    if ratio <= 1:
        return grey
    height, width = (max(int(side // ratio), 1) for side in grey.shape)
    picture = Image.fromarray(grey)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=GAP))


def laplacian(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the edges as Pillow's FIND_EDGES: cut off at 0 and 255, the outermost pixels kept."""
    edges = np.asarray(cv2.filter2D(grey, -1, _EDGES), np.uint8)
    for line in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        edges[line] = grey[line]
    return edges
