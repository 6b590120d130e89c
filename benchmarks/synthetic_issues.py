"""Make images that have a known issue, out of real photographs, for `benchmarks.clean`.

Real sets hold too few dark, light or flat pictures to compare flags on. Each maker takes a real
photograph and a strength in [0, 1); strengths are drawn evenly, so that the results lie on both
sides of a threshold, many of them near it. The same seed makes the same bytes.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from darkroom.images.decode import Pixels, decode

SEED = 17
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 92]

Maker = Callable[[Pixels, float], Pixels]


def blur(image: Pixels, strength: float) -> Pixels:
    sigma = max(image.shape) * (0.002 + 0.08 * strength)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def darken(image: Pixels, strength: float) -> Pixels:
    return (image * (0.7 - 0.65 * strength)).astype(np.uint8)


def lighten(image: Pixels, strength: float) -> Pixels:
    return (255 - (255 - image.astype(float)) * 0.25 * (1 - strength)).astype(np.uint8)


def flatten(image: Pixels, strength: float) -> Pixels:
    """Leave 2 to 6 levels per channel, drawn together around the mean."""
    levels = 2 + round(4 * (1 - strength))
    coarse = np.floor(image / 256 * levels) * (256 / levels)
    mean = image.mean(axis=(0, 1))
    return np.clip(mean + (coarse - coarse.mean(axis=(0, 1))) * 0.6, 0, 255).astype(np.uint8)


def grey(image: Pixels, _: float) -> Pixels:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)  # stored as grey


def stretch(image: Pixels, strength: float) -> Pixels:
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(image, (round(width * (1 + 5 * strength)), height)), np.uint8)


def enlarge(image: Pixels, strength: float) -> Pixels:
    factor = 1 + 4 * strength
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor), np.uint8)


MAKERS: dict[str, Maker] = {
    "blurry": blur,
    "dark": darken,
    "light": lighten,
    "low_information": flatten,
    "greyscale": grey,
    "odd_aspect_ratio": stretch,
    "odd_size": enlarge,
}


def make(files: list[Path], target: Path, each: int) -> None:
    """Write `each` images per issue below `target`, out of files drawn without replacement.

    Flat ones are PNG, since JPEG would invent levels; all others JPEG.
    """
    draw = np.random.default_rng(SEED)
    target.mkdir(parents=True)
    for issue, maker in MAKERS.items():
        chosen = draw.choice(len(files), min(each, len(files)), replace=False)
        for number, at in enumerate(chosen):
            image = maker(decode(files[at].read_bytes()), float(draw.random()))
            image = image if image.ndim == 2 else image[:, :, ::-1]
            kind = "png" if issue == "low_information" else "jpg"
            options = QUALITY if kind == "jpg" else []
            cv2.imwrite(str(target / f"made_{issue}_{number:03d}.{kind}"), image, options)
