"""Change the size of a picture, and write it as a small JPEG for a page."""

import cv2
import numpy as np

from darkroom.images.colours import Pixels


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize by area when shrinking, else bilinear."""
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    source = np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(source, (width, height), interpolation=method), np.uint8)


def shrink(pixels: Pixels, side_px: int) -> Pixels:
    """Return a picture that fits into a square of this side; a smaller one stays as it is."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    return resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Return RGB pixels as a JPEG of this quality, 0 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), options)[1].tobytes()
