import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageStat
from skimage import data

from darkroom.checks.sharpness import blurry_score, laplacian, shrink


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def of_cleanvision(picture):
    """Return the score as cleanvision 0.3.7 computes it."""
    ratio = max(picture.size) / 64
    if ratio > 1:
        picture = picture.resize(tuple(max(int(side // ratio), 1) for side in picture.size))
    grey = picture.convert("L")
    edges = 1 - np.exp(-0.01 * ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).var[0] ** 0.5)
    spread = 1 - np.exp(-0.01 * np.std(grey.histogram()))
    return min(edges + (spread if spread > 0.18 else 0), 1)


def test_blur_lowers_the_score_step_by_step():
    photograph = Image.fromarray(data.astronaut()).convert("L")
    scores = [
        blurry_score(np.asarray(photograph.filter(ImageFilter.GaussianBlur(sigma))))
        for sigma in (0, 8, 16, 32)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.35
    assert scores[-1] < 0.29  # the default threshold


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_edges_are_those_of_pillow(height, width, seed):
    grey = noise(height, width, seed)
    expected = np.asarray(Image.fromarray(grey).filter(ImageFilter.FIND_EDGES))
    assert np.array_equal(laplacian(grey), expected)


@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 99))
def test_a_small_image_has_the_score_of_cleanvision(height, width, seed):
    grey = noise(height, width, seed)
    assert blurry_score(grey) == pytest.approx(of_cleanvision(Image.fromarray(grey)), abs=1e-9)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
@pytest.mark.parametrize("side", [90, 180, 400])
@pytest.mark.parametrize("sigma", [0, 3])
def test_a_photograph_has_nearly_the_score_of_cleanvision(name, side, sigma):
    picture = Image.fromarray(getattr(data, name)()).filter(ImageFilter.GaussianBlur(sigma))
    picture.thumbnail((side, side))
    found = blurry_score(np.asarray(picture.convert("L")))
    assert found == pytest.approx(of_cleanvision(picture), abs=0.012)


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        ((64, 64), (64, 64)),
        ((65, 64), (64, 63)),
        ((128, 300), (27, 64)),
        ((1, 900), (1, 64)),
        ((9, 3), (9, 3)),
    ],
)
def test_large_images_shrink_to_a_long_side_of_64(shape, small):
    assert shrink(np.zeros(shape, np.uint8)).shape == small
