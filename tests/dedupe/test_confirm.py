"""Originals are read only where the pictures leave a doubt."""

import cv2
import numpy as np
import pytest
from skimage import data

from darkroom.core.shards import Location
from darkroom.dedupe import confirm
from darkroom.dedupe.confirm import Doubt, Image, confirm_task
from darkroom.dedupe.verify import Evidence
from darkroom.images.previews import PREVIEWS, RAW, Place

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PICTURE_PX, ORIGINAL_PX = 256, 512


@pytest.fixture(scope="module")
def photograph():
    return cv2.resize(data.astronaut(), (ORIGINAL_PX, ORIGINAL_PX), interpolation=cv2.INTER_AREA)


def scratched(image, strength):
    image = image.copy()
    area = image[250:252, 150:250]
    area[:] = np.clip(area.astype(np.int16) + strength, 0, 255)
    return image


def moved(image):
    y, x = np.mgrid[:ORIGINAL_PX, :ORIGINAL_PX].astype(np.float32)
    return cv2.remap(image, x + 6 * np.sin(y / 40), y, cv2.INTER_LINEAR)


def look(monkeypatch, one, other, folder=str(PREVIEWS), worst=0.5):
    """Return whether two images differ, and how many originals were read for it."""
    originals, read = {"a": one, "b": other}, []
    pictures = {
        key: cv2.resize(image, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA)
        for key, image in originals.items()
    }
    monkeypatch.setattr(confirm.previews, "read_picture", lambda root, at: pictures[at.shard])
    monkeypatch.setattr(
        confirm, "_read_original", lambda root, image: read.append(1) or originals[image.key]
    )
    a, b = (Image(k, Place(folder, k, 0, 0), Location("", 0, 0)) for k in originals)
    evidence = Evidence(50, 1.0, 0.9, 1.0, worst, 0.9, 0.01, *IDENTITY)
    return confirm_task(None, [Doubt(a, b, evidence, covered=False)])[0], len(read)


def test_a_copy_without_a_trace_of_anything_needs_no_original(monkeypatch, photograph):
    assert look(monkeypatch, photograph, (photograph * 0.9).astype(np.uint8)) == (False, 0)


def test_another_shot_ends_at_the_pictures(monkeypatch, photograph):
    assert look(monkeypatch, photograph, moved(photograph)) == (True, 0)


def test_a_trace_is_looked_at_on_the_originals(monkeypatch, photograph):
    faint = [look(monkeypatch, photograph, scratched(photograph, s)) for s in range(20, 90, 5)]
    assert (True, 2) in faint
    assert faint[-1] == (True, 0)


def test_where_the_pictures_are_the_originals_nothing_more_is_read(monkeypatch, photograph):
    found = [
        look(monkeypatch, photograph, scratched(photograph, s), str(RAW)) for s in range(20, 90, 5)
    ]
    assert {read for _, read in found} == {0}


def test_a_drawing_is_looked_at_on_the_originals(monkeypatch):
    page = np.full((ORIGINAL_PX, ORIGINAL_PX, 3), 255, np.uint8)
    for row in range(12):
        cv2.putText(page, f"Item {row}", (40, 40 * row + 40), 0, 0.8, (0, 0, 0), 2, cv2.LINE_AA)
    assert look(monkeypatch, page, page.copy(), worst=1.0) == (False, 2)


def test_plainly_the_same_is_believed(monkeypatch, photograph):
    assert look(monkeypatch, photograph, moved(photograph), worst=1.0) == (False, 0)
