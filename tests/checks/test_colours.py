import numpy as np
import pytest
from PIL import Image
from skimage import data

from darkroom.checks.colours import cast_score, colour_score


def channels(pixels):
    return [np.ascontiguousarray(pixels[:, :, c]) for c in range(3)]


def test_the_share_of_coloured_pixels():
    pixels = np.full((10, 10, 3), 90, np.uint8)
    assert colour_score(channels(pixels)) == 0
    pixels[:3, :, 1] += 4  # cannot be seen
    assert colour_score(channels(pixels)) == 0
    pixels[:3, :, 1] += 1
    assert colour_score(channels(pixels)) == pytest.approx(0.3)
    pixels[9, :, 2] = 0
    assert colour_score(channels(pixels)) == pytest.approx(0.4)


def test_a_grey_photograph_stored_in_colour_has_none_and_the_original_has():
    photograph = Image.fromarray(data.chelsea())
    grey = np.asarray(photograph.convert("L").convert("RGB"))
    assert colour_score(channels(grey)) == 0
    assert colour_score(channels(data.chelsea())) > 0.9


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_grey_has_no_cast(grey):
    assert cast_score(np.full((5, 5, 3), grey, np.uint8)) == 1


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 160, 90)])
def test_one_colour_alone_is_all_cast(colour):
    assert cast_score(np.full((5, 5, 3), colour, np.uint8)) == 0


def test_colours_that_surround_grey_are_no_cast():
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0], pixels[0, 1] = (180, 100, 100), (100, 160, 160)
    pixels[1, 0], pixels[1, 1] = (150, 150, 100), (110, 110, 170)
    assert cast_score(pixels) == 1


def test_a_stronger_veil_lowers_the_score_step_by_step():
    pixels = data.astronaut().astype(float)
    veil = np.array([255, 140, 0])
    scores = [
        cast_score((pixels * (1 - share) + veil * share).astype(np.uint8))
        for share in (0, 0.2, 0.4, 0.6)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert scores[-1] < 0.5  # the default threshold
