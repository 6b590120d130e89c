import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from skimage import data

from stages.inspection.scores import (
    blurry_score,
    brightness_scores,
    low_information_score,
    reduce,
    score,
)


def flat(grey, height=40, width=60):
    return np.full((height, width, 3), grey, np.uint8)


def noise(height=120, width=160):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "dark", "light"),
    [
        pytest.param(flat(0), 0.0, 1.0, id="black"),
        pytest.param(flat(255), 1.0, 0.0, id="white"),
        pytest.param(flat(51), 0.2, 0.8, id="dark grey"),
        pytest.param(np.stack([flat(255)[:, :, 0], *[flat(0)[:, :, 0]] * 2], 2), 0.241**0.5,
                     1 - 0.241**0.5, id="red"),
    ],
)  # fmt: skip
def test_brightness(pixels, dark, light):
    assert brightness_scores(pixels) == pytest.approx((dark, light), abs=1e-9)


def test_one_bright_percent_is_not_enough_to_be_well_lit():
    pixels = flat(0, 100, 100)
    pixels[0, :99] = 255  # 0.99 %
    assert brightness_scores(pixels)[0] == 0
    pixels[:2] = 255
    assert brightness_scores(pixels)[0] == 1


def test_blur_lowers_the_score_step_by_step():
    photograph = Image.fromarray(data.astronaut())
    scores = [
        blurry_score(photograph.filter(ImageFilter.GaussianBlur(sigma))) for sigma in (0, 8, 16, 32)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.35
    assert scores[-1] < 0.29  # the default threshold


def test_entropy_of_known_histograms():
    stripes = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    assert low_information_score(Image.fromarray(stripes)) == pytest.approx(0.8)  # 8 bits of grey
    assert low_information_score(Image.fromarray(flat(7))) == 0
    assert low_information_score(Image.fromarray(noise())) == pytest.approx(0.958, abs=0.001)


def test_the_way_in_which_a_file_stores_grey_does_not_matter():
    grey = Image.fromarray(noise()).convert("L")
    assert low_information_score(grey.convert("RGB")) == pytest.approx(0.1 * grey.entropy())


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((511, 300), (300, 511)),
        ((512, 512), (256, 256)),
        ((1024, 3000), (750, 256)),
        ((3, 9), (9, 3)),
    ],
)
def test_large_images_are_reduced_by_whole_blocks(shape, size):
    assert reduce(np.zeros((*shape, 3), np.uint8)).size == size


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(0, 255), st.sampled_from(["flat", "noise"])
)
def test_scores_are_fractions_whatever_the_image(height, width, grey, kind):
    pixels = flat(grey, height, width) if kind == "flat" else noise(height, width)
    assert all(0 <= value <= 1 for value in score(pixels))
