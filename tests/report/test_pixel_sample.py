import numpy as np
import pandas as pd
import pytest

from darkroom.report import pixel_sample


def keys(number):
    return pd.Series([f"{key:04d}" for key in range(number)][::-1])


def test_the_lowest_keys_are_chosen_whatever_else_is_there():
    assert pixel_sample.choose_keys(keys(900), 5) == ["0000", "0001", "0002", "0003", "0004"]
    assert pixel_sample.choose_keys(keys(3), 5) == ["0000", "0001", "0002"]
    assert pixel_sample.choose_keys(keys(0), 5) == []


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (1, 5000), (900, 700)])
def test_a_flat_image_is_a_flat_square_of_one_tone(shape):
    flat = np.zeros((*shape, 3), np.uint8) + np.array([255, 0, 128], np.uint8)
    sample = pixel_sample.sample_pixels(flat)
    assert (sample.square == [255, 0, 128]).all()
    assert sample.square.shape == (64, 64, 3)
    assert [int(tone.argmax()) for tone in sample.histograms] == [63, 0, 32]
    assert sample.histograms.max(axis=1).tolist() == [1, 1, 1]
    assert sample.brightness == pytest.approx((0.241 + 0.068 * (128 / 255) ** 2) ** 0.5, abs=1e-6)


def test_each_image_counts_the_same_whatever_its_size():
    small, large = np.zeros((2, 2, 3), np.uint8), np.full((300, 300, 3), 255, np.uint8)
    tones = pixel_sample.mean_histograms(
        [pixel_sample.sample_pixels(small), pixel_sample.sample_pixels(large)]
    )
    assert tones[:, [0, -1]].tolist() == [[0.5, 0.5]] * 3
