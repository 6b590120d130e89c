"""Change the size of a picture."""

import cv2
import numpy as np

from darkroom.images.colours import Pixels


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize by area when shrinking, else bilinear."""
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    source = np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(source, (width, height), interpolation=method), np.uint8)
