import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.checks.exposure import histogram, information_score, light_scores, percentiles


def flat(*colour, height=40, width=60):
    return np.full((height, width, 3), colour, np.uint8)


def noise(height=120, width=160):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def channels(pixels):
    return [np.ascontiguousarray(pixels[:, :, c]) for c in range(3)]


@pytest.mark.parametrize(
    ("pixels", "dark", "light", "clipped"),
    [
        pytest.param(flat(0), 0.0, 1.0, 0.0, id="black"),
        pytest.param(flat(255), 1.0, 0.0, 0.0, id="white"),
        pytest.param(flat(2), 2 / 255, 253 / 255, 0.0, id="two levels above black"),
        pytest.param(flat(3), 3 / 255, 252 / 255, 1.0, id="three levels above black"),
        pytest.param(flat(253), 253 / 255, 2 / 255, 0.0, id="two levels below white"),
        pytest.param(flat(51), 0.2, 0.8, 1.0, id="dark grey"),
        pytest.param(flat(255, 0, 0), 125 / 255, 130 / 255, 1.0, id="red: sqrt(0.241) of 255"),
        pytest.param(flat(0, 255, 0), 212 / 255, 43 / 255, 1.0, id="green: sqrt(0.691) of 255"),
        pytest.param(flat(0, 0, 255), 66 / 255, 189 / 255, 1.0, id="blue: sqrt(0.068) of 255"),
    ],
)
def test_known_brightness(pixels, dark, light, clipped):
    assert light_scores(pixels) == pytest.approx((dark, light, clipped), abs=1e-9)


def test_one_bright_percent_is_not_enough_to_be_well_lit():
    pixels = flat(0, height=100, width=100)
    pixels[0, :99] = 255  # 0.99 %
    assert light_scores(pixels)[0] == 0
    pixels[:2] = 255
    assert light_scores(pixels)[0] == 1


def test_a_quarter_blown_out_is_a_quarter_clipped():
    pixels = flat(120, height=40, width=40)
    pixels[:5], pixels[5:10] = 255, 0
    assert light_scores(pixels)[2] == pytest.approx(0.75)


def test_brightness_is_that_of_cleanvision_to_half_a_level():
    pixels = noise()
    red, green, blue = pixels.astype(float).transpose(2, 0, 1)
    bright = np.sqrt(0.241 * red**2 + 0.691 * green**2 + 0.068 * blue**2) / 255
    low, high = np.percentile(bright, [5, 99])
    assert light_scores(pixels)[:2] == pytest.approx((high, 1 - low), abs=0.51 / 255)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=300), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(levels, share):
    counts = histogram(np.array([levels], np.uint8))
    expected = np.percentile(levels, 100 * share)
    assert percentiles(counts, [share])[0] == pytest.approx(expected, abs=1e-6)


def test_entropy_of_known_histograms():
    assert information_score(channels(flat(7))[:1]) == 0
    assert information_score(channels(flat(7))) == pytest.approx(0.1 * np.log2(3))
    assert information_score(channels(flat(7, 8, 9))) == pytest.approx(0.1 * np.log2(3))
    assert information_score(channels(noise())) == pytest.approx(0.958, abs=0.001)


def test_entropy_is_that_of_pillow_hence_of_cleanvision():
    pixels = noise()
    pixels[:60] //= 3
    expected = 0.1 * Image.fromarray(pixels).entropy()
    assert information_score(channels(pixels)) == pytest.approx(expected)


def test_one_channel_that_is_stored_as_grey_scores_as_in_cleanvision():
    grey = Image.fromarray(noise()).convert("L")
    assert information_score([np.asarray(grey)]) == pytest.approx(0.1 * grey.entropy())
    thrice = channels(np.asarray(grey.convert("RGB")))
    assert information_score(thrice) == pytest.approx(0.1 * grey.convert("RGB").entropy())
