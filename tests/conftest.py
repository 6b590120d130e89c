"""Fixtures that several test files share. Images are made or cut here; none is downloaded."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageFilter

from stages.lib.params import check_params
from stages.sources.photographs import PHOTOGRAPHS, read

REPOSITORY = Path(__file__).parents[1]
SIDE_PX = 96


@pytest.fixture
def repository():
    """Return the folder that this checkout lies in."""
    return REPOSITORY


@pytest.fixture
def values():
    """Return params.yaml as plain values, to be changed and given to `check_params`."""
    return yaml.safe_load((REPOSITORY / "params.yaml").read_text())


@pytest.fixture
def params(values):
    """Return params.yaml as it is committed."""
    return check_params(values)


@pytest.fixture(scope="session")
def patches():
    """Return 100 real patches, (96, 96, 3) uint8, no two of which overlap."""
    found = []
    for photograph in PHOTOGRAPHS:
        if photograph.name in {"astronaut", "chelsea", "coffee", "rocket", "china", "flower"}:
            pixels = read(photograph)
            found += [
                pixels[top : top + SIDE_PX, left : left + SIDE_PX]
                for top in range(0, pixels.shape[0] - SIDE_PX + 1, SIDE_PX)
                for left in range(0, pixels.shape[1] - SIDE_PX + 1, SIDE_PX)
            ]
    return sorted(found, key=lambda patch: -float(patch.std()))[:100]


def write_rated_images(folder, patches, start=0):
    """Write `patches` as JPEG, every second one blurred, and return (name, mean rating) of each."""
    folder.mkdir(parents=True, exist_ok=True)
    rated = []
    for number, patch in enumerate(patches, start):
        image, good = Image.fromarray(patch), number % 2 == 0
        name = f"{number:03d}.jpg"
        mean = (6.5 if good else 2.5) + (number % 5) * 0.4
        if not good:
            image = image.filter(ImageFilter.GaussianBlur(3))
        image.save(folder / name, quality=92)
        rated.append((name, mean))
    return rated


def write_bad_company(folder):
    """Beside 000.jpg and 002.jpg, write an exact copy, a recompressed one and broken files."""
    whole = (folder / "000.jpg").read_bytes()
    (folder / "copy.jpg").write_bytes(whole)
    with Image.open(folder / "002.jpg") as image:
        image.save(folder / "recompressed.jpg", quality=60)
    (folder / "cut_off.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "page.jpg").write_text("<html>not found</html>")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "tiny.png")
