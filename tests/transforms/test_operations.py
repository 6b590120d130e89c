import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.randomness import generator
from stages.transforms import operations
from stages.transforms.operations import OPERATIONS


def noise(height=30, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


sides = st.integers(1, 70)


@settings(deadline=None)
@given(st.sampled_from(sorted(OPERATIONS)), sides, sides, st.integers(0, 999))
def test_each_keeps_type_and_size_and_repeats_itself(name, height, width, seed):
    pixels, operation = noise(height, width), OPERATIONS[name]
    before = pixels.copy()
    values = operation.draw(generator(seed, name), height, width)
    changed = operation.apply(pixels, **values)
    assert changed.dtype == np.uint8
    cut = (
        [values["top"] + values["bottom"], values["left"] + values["right"]]
        if name == "crop"
        else [0, 0]
    )
    assert changed.shape == (height - cut[0], width - cut[1], 3)
    assert min(changed.shape) > 0
    assert np.array_equal(changed, operation.apply(pixels, **values))
    assert np.array_equal(pixels, before)


@given(sides, sides)
def test_flips_undo_themselves_and_commute(height, width):
    pixels = noise(height, width)
    one, other = operations.horizontal_flip, operations.vertical_flip
    assert np.array_equal(one(one(pixels)), pixels)
    assert np.array_equal(other(other(pixels)), pixels)
    assert np.array_equal(one(other(pixels)), other(one(pixels)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rotation", {"degrees": 0}), ("shear", {"factor": 0}), ("shift", {"down": 0, "right": 0}),
        ("crop", {"top": 0, "bottom": 0, "left": 0, "right": 0}), ("brightness", {"gain": 1}),
        ("contrast", {"gain": 1}), ("noise", {"sigma": 0, "seed": 1}), ("blur", {"sigma_px": 0}),
    ],
)  # fmt: skip
def test_nought_is_the_identity(name, values):
    assert np.array_equal(OPERATIONS[name].apply(noise(), **values), noise())


def test_shift_moves_whole_pixels_and_mirrors_what_enters():
    moved = operations.shift(noise(), down=3, right=-4)
    assert np.array_equal(moved[3:, :-4], noise()[:-3, 4:])
    assert np.array_equal(moved[:3, :-4], noise()[:3, 4:][::-1])


def test_a_quarter_turn_is_counter_clockwise():
    pixels = noise(40, 40)
    turned = operations.rotation(pixels, 90).astype(int)
    assert np.abs(turned - np.rot90(pixels)).max() <= 1


@pytest.mark.parametrize("degrees", [-20, 7.5, 20])
def test_a_turn_leaves_no_empty_corner(degrees):
    white = np.full((31, 64, 3), 255, np.uint8)
    assert operations.rotation(white, degrees).min() == 255
    assert operations.shear(white, degrees / 100).min() == 255


def test_noise_has_the_deviation_that_it_says_and_blur_lowers_it():
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = operations.noise(grey, sigma=10, seed=4)
    assert noisy.std() == pytest.approx(10, rel=0.02)
    assert operations.blur(noisy, 1.5).std() < 4


def test_gains_change_brightness_and_contrast_alone():
    pixels = noise() // 3 + 80
    assert operations.brightness(pixels, 0.8).mean() == pytest.approx(0.8 * pixels.mean(), abs=0.5)
    assert operations.contrast(pixels, 1.2).mean() == pytest.approx(pixels.mean(), abs=0.5)
    assert operations.contrast(pixels, 1.2).std() == pytest.approx(1.2 * pixels.std(), rel=0.02)
