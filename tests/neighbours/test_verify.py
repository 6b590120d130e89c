"""Edits of a photograph verify; other photographs, plain and dark pictures do not."""

import cv2
import numpy as np
import pytest
from skimage import data

from stages.neighbours.decide import decide
from stages.neighbours.verify import NOTHING, compare, prepare

THRESHOLD = 0.85


def _rotated(image, degrees):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return cv2.warpAffine(image, matrix, (width, height))


def _stickered(image):
    image = image.copy()
    image[20:90, 30:120] = (250, 220, 30)
    return image


EDITS = {
    "itself": lambda image: image,
    "crop": lambda image: image[20:-30, 25:-20],
    "flip horizontal": lambda image: image[:, ::-1],
    "flip vertical": lambda image: image[::-1],
    "right angle": lambda image: np.rot90(image),
    "rotation": lambda image: _rotated(image, 25),
    "smaller": lambda image: cv2.resize(image, (90, 90), interpolation=cv2.INTER_AREA),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "sticker": _stickered,
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 3),
    "jpeg 10": lambda image: cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 10])[1], cv2.IMREAD_COLOR
    ),
}


@pytest.fixture(scope="module")
def photograph():
    return cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)


def _verdict(a, b, similarity=0.9):
    evidence = compare(prepare(a), prepare(b), whole=similarity >= THRESHOLD)
    return decide(similarity, evidence, THRESHOLD)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_is_a_copy(photograph, edit):
    assert _verdict(photograph, np.ascontiguousarray(edit(photograph))).duplicate


@pytest.mark.parametrize("similarity", [0.7, 0.99])
def test_another_photograph_is_not_however_near(photograph, similarity):
    other = cv2.resize(data.chelsea(), (256, 256), interpolation=cv2.INTER_AREA)
    assert not _verdict(photograph, other, similarity).duplicate


def test_the_next_patch_of_a_texture_is_not():
    bricks = np.repeat(data.brick()[:, :, None], 3, axis=2)
    assert not _verdict(bricks[:128, :128], bricks[128:256, 128:256], 0.97).duplicate


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_prove_nothing(level):
    flat = np.full((64, 64, 3), level, np.uint8)
    noise = np.random.default_rng(0).integers(0, 3, (64, 64, 3), np.uint8)
    assert compare(prepare(flat), prepare(np.minimum(flat, 252) + noise), whole=True) is NOTHING


def test_gradients_of_other_direction_are_not_copies():
    across = np.repeat(np.tile(np.arange(128, dtype=np.uint8), (128, 1))[:, :, None], 3, axis=2)
    bump = (120 * np.exp(-(((np.indices((128, 128)) - 64) / 30) ** 2).sum(axis=0))).astype(np.uint8)
    assert not _verdict(across, np.repeat(bump[:, :, None], 3, axis=2), 0.99).duplicate
