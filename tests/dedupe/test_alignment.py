"""Maps between pictures are refined to what they are, each as it would be alone."""

import cv2
import numpy as np
import pytest
from skimage import data

from darkroom.dedupe.alignment import Level, determinant, invert, refine

TRUE = np.array([[0.9, 0.1, 1.0], [-0.1, 0.95, 0.5]])  # of places of b to those of a


def _moved(grey, matrix):
    """Return what lies on `grey` by this map."""
    scale = grey.shape[0] / 16
    pixels = matrix.copy()
    pixels[:, 2] = (matrix @ [0, 0, 1]) * scale + (matrix[:, :2].sum(axis=1) - 1) / 2
    return cv2.warpAffine(grey, pixels, grey.shape, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


@pytest.fixture(scope="module")
def grey():
    return cv2.resize(data.camera(), (320, 320), interpolation=cv2.INTER_AREA)


def _level(grey):
    return Level(grey, 80, 16, 1.0)


def test_a_map_nearby_becomes_the_one_that_is(grey):
    start = TRUE + np.array([[0.02, -0.02, 0.3], [0.01, 0.02, -0.3]])
    found, correlation = refine([_level(grey)], [_level(_moved(grey, TRUE))], start[None], 12)
    assert found[0] == pytest.approx(TRUE, abs=0.02)
    assert correlation[0] > 0.97


def test_where_pictures_differ_there_is_no_map(grey):
    other = _level(cv2.resize(data.coins(), (320, 320)))
    assert refine([_level(grey)], [other], TRUE[None], 12)[1][0] == -1


def test_too_little_in_common_is_no_map(grey):
    away = np.array([[1.0, 0, 15.5], [0, 1, 0]])
    assert refine([_level(grey)], [_level(grey)], away[None], 12)[1][0] == -1


def test_a_flat_picture_has_no_map(grey):
    flat = _level(np.full((50, 70), 128, np.uint8))
    for one, other in [(flat, _level(grey)), (_level(grey), flat)]:
        assert refine([one], [other], np.eye(2, 3)[None], 12)[1][0] == -1


def test_each_of_many_is_refined_as_it_is_alone(grey):
    rng = np.random.default_rng(0)
    begin = np.eye(2, 3) + rng.normal(0, 0.03, (70, 2, 3))
    one, other = [_level(grey)] * 70, [_level(_moved(grey, m)) for m in begin[::-1]]
    support = rng.random((70, 16, 16)) < 0.8
    together = refine(one, other, begin, 12, support)
    for at in range(70):
        alone = refine(
            one[at : at + 1], other[at : at + 1], begin[at : at + 1], 12, support[at, None]
        )
        np.testing.assert_array_equal(together[0][at], alone[0][0])
        assert together[1][at] == alone[1][0]


def test_inverse_and_determinant():
    maps = np.random.default_rng(0).normal(0, 1, (20, 2, 3))
    whole = np.concatenate([maps, np.broadcast_to([[[0, 0, 1.0]]], (20, 1, 3))], axis=1)
    assert invert(maps) == pytest.approx(np.linalg.inv(whole)[:, :2])
    assert determinant(maps) == pytest.approx(np.linalg.det(whole))
    assert np.isnan(invert(np.zeros((1, 2, 3)))).all()
