"""The photographs of the embedded sample, as installed with scikit-image and scikit-learn.

Cut into square patches of SIDE_PX that touch but never overlap, so that no patch holds a piece of
another. Nearly flat patches (sky, paper) are left out, since degraded ones would look alike.
Drawings and test patterns (horse, logo, colour wheel) are no photographs and not used.
"""

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB

SIDE_PX = 68  # chosen by us: the largest that gives over 600 patches without overlap
MIN_CONTRAST = 12.0  # standard deviation of a patch's grey values, of 255; chosen by us
CELL_PX = 17
MIN_CELL_CONTRAST = 3.0  # a cell of 17 px with a lower deviation counts as flat
MIN_CELLS = 0.5  # share of the cells that must not be flat


class Photograph(NamedTuple):
    """One photograph, and how it is cut."""

    name: str
    package: str
    file: str
    group: str
    margin: float = 0.0  # share of each side that is left out: outside the retina all is black
    rows: int | None = None  # of the stereo pair one view gives even rows of patches, one odd
    limit: int = 65  # no more patches than this; the most contrasting ones are taken


def _from_skimage(name: str, extension: str = "png", margin: float = 0.0) -> Photograph:
    return Photograph(name, "skimage", f"data/{name}.{extension}", name, margin)


PHOTOGRAPHS = [
    *map(_from_skimage, ("astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins")),
    *map(_from_skimage, ("grass", "gravel")),
    _from_skimage("hubble_deep_field", "jpg"),
    _from_skimage("ihc"),
    _from_skimage("moon"),
    # The pair is rectified: a row of one view shows nothing that another row of the other shows.
    Photograph("motorcycle_left", "skimage", "data/motorcycle_left.png", "motorcycle", rows=0),
    Photograph("motorcycle_right", "skimage", "data/motorcycle_right.png", "motorcycle", rows=1),
    _from_skimage("page"),
    _from_skimage("retina", "jpg", margin=0.15),
    _from_skimage("rocket", "jpg"),
    _from_skimage("text"),
    Photograph("china", "sklearn", "datasets/images/china.jpg", "china"),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg", "flower"),
]


def package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it (that takes seconds)."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed: `make repro` installs it")
    return Path(spec.submodule_search_locations[0])


def digest() -> str:
    """Return what the sample's bytes depend on besides our code, without making the sample."""
    packages = ("scikit-image", "scikit-learn", "pillow", "numpy")
    versions = " ".join(f"{package}={version(package)}" for package in packages)
    return hashlib.sha256(versions.encode()).hexdigest()


def read(photograph: Photograph) -> Pixels:
    """Return the pixels of a photograph without its margin."""
    with Image.open(package_folder(photograph.package) / photograph.file) as image:
        rgb = np.asarray(image.convert("RGB"))
    top, left = (int(side * photograph.margin) for side in rgb.shape[:2])
    return rgb[top : rgb.shape[0] - top, left : rgb.shape[1] - left]


def cut(photograph: Photograph) -> list[tuple[int, int, Pixels]]:
    """Return (top, left, patch) of the patches with enough contrast, in order of place."""
    pixels = read(photograph)
    rows, columns = pixels.shape[0] // SIDE_PX, pixels.shape[1] // SIDE_PX
    margin_top = (pixels.shape[0] - rows * SIDE_PX) // 2
    margin_left = (pixels.shape[1] - columns * SIDE_PX) // 2
    patches = []
    for row in range(rows):
        if photograph.rows is not None and row % 2 != photograph.rows:
            continue
        for column in range(columns):
            top, left = margin_top + row * SIDE_PX, margin_left + column * SIDE_PX
            patch = pixels[top : top + SIDE_PX, left : left + SIDE_PX]
            if has_contrast(patch):
                patches.append((top, left, patch))
    strongest = sorted(patches, key=lambda item: (-item[2].std(), item[0], item[1]))
    return sorted(strongest[: photograph.limit], key=lambda item: item[:2])


def has_contrast(patch: Pixels) -> bool:
    """Return whether a patch shows something in at least half of its cells."""
    grey = patch.mean(axis=2)
    count = SIDE_PX // CELL_PX
    cells = grey.reshape(count, CELL_PX, count, CELL_PX).std(axis=(1, 3))
    return bool(grey.std() >= MIN_CONTRAST and (cells >= MIN_CELL_CONTRAST).mean() >= MIN_CELLS)
