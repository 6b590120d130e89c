import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.augmentation import appearance, geometry
from darkroom.augmentation.geometry import FILLS
from darkroom.augmentation.operations import OPERATIONS
from darkroom.core.randomness import generator


def noise(height=30, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def draw(name, seed, height=30, width=50, limit=None, fill="reflect"):
    operation = OPERATIONS[name]
    if limit is None:
        limit = operation.limit.default if operation.limit else 0
    return operation.values.draw(generator(seed, name), limit, (height, width), fill)


sides = st.integers(1, 70)
names = st.sampled_from(sorted(OPERATIONS))
fills = st.sampled_from(sorted(FILLS))


@given(names, sides, sides, st.integers(0, 999), fills)
def test_each_keeps_type_and_size_and_repeats_itself(name, height, width, seed, fill):
    pixels = noise(height, width)
    before = pixels.copy()
    values = draw(name, seed, height, width, fill=fill)
    changed = OPERATIONS[name].apply(pixels, **values)
    cut = (
        [values["top"] + values["bottom"], values["left"] + values["right"]]
        if name == "crop"
        else [0, 0]
    )
    assert changed.dtype == np.uint8
    assert changed.shape == (height - cut[0], width - cut[1], 3)
    assert min(changed.shape) > 0
    assert np.array_equal(changed, OPERATIONS[name].apply(pixels, **values))
    assert np.array_equal(pixels, before)


@settings(max_examples=60)
@given(names, st.sampled_from(["low", "high"]), st.integers(0, 99))
def test_each_works_at_both_ends_of_its_range(name, end, seed):
    limit = OPERATIONS[name].limit
    values = draw(name, seed, limit=getattr(limit, end) if limit else None)
    changed = OPERATIONS[name].apply(noise(), **values)
    assert min(changed.shape) > 0


@given(sides, sides)
def test_flips_undo_themselves_and_commute(height, width):
    pixels = noise(height, width)
    one, other = geometry.horizontal_flip, geometry.vertical_flip
    assert np.array_equal(one(one(pixels)), pixels)
    assert np.array_equal(other(other(pixels)), pixels)
    assert np.array_equal(one(other(pixels)), other(one(pixels)))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rotation", {"degrees": 0}), ("shear", {"factor": 0}), ("zoom", {"factor": 1}),
        ("shift", {"down": 0, "right": 0}),
    ],
)  # fmt: skip
def test_no_move_is_the_identity(name, values, fill):
    assert np.array_equal(OPERATIONS[name].apply(noise(), **values, fill=fill), noise())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("crop", {"top": 0, "bottom": 0, "left": 0, "right": 0}), ("brightness", {"gain": 1}),
        ("contrast", {"gain": 1}), ("colour", {"gain": 1}), ("blur", {"sigma_px": 0}),
        ("gaussian_noise", {"sigma": 0, "seed": 1}), ("speckle", {"sigma": 0, "seed": 1}),
        ("salt_and_pepper", {"share": 0, "seed": 1}),
    ],
)  # fmt: skip
def test_nought_is_the_identity(name, values):
    assert np.array_equal(OPERATIONS[name].apply(noise(), **values), noise())


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("reflect", [3, 2, 1, 1, 2, 3, 4]), ("nearest", [1, 1, 1, 1, 2, 3, 4]),
        ("wrap", [5, 6, 7, 1, 2, 3, 4]), ("constant", [0, 0, 0, 1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_shift_moves_whole_pixels_and_fills_as_asked(fill, expected):
    row = np.arange(1, 8, dtype=np.uint8)
    pixels = np.repeat(np.tile(row, (5, 1))[:, :, None], 3, axis=2)
    moved = geometry.shift(pixels, down=0, right=3, fill=fill)
    assert moved[0, :, 0].tolist() == expected


@pytest.mark.parametrize("fill", FILLS)
def test_a_quarter_turn_is_counter_clockwise_and_exact(fill):
    assert np.array_equal(geometry.rotation(noise(40, 40), 90, fill), np.rot90(noise(40, 40)))


def test_zoom_looks_at_the_middle():
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[15:26, 15:26] = 255
    assert (geometry.zoom(pixels, 3.0, "constant")[8:33, 8:33] == 255).all()
    assert geometry.zoom(pixels, 0.5, "constant").sum() < 0.35 * pixels.sum()


@pytest.mark.parametrize("degrees", [-20, 7.5, 20])
def test_only_a_constant_fill_leaves_empty_corners(degrees):
    white = np.full((31, 64, 3), 255, np.uint8)
    for fill in FILLS:
        empty = geometry.rotation(white, degrees, fill).min() == 0
        assert empty == (fill == "constant")


GREY = np.full((200, 200, 3), 128, np.uint8)


@pytest.mark.parametrize("sigma", [2, 10, 30])
def test_gaussian_noise_has_the_deviation_that_it_says(sigma):
    noisy = appearance.gaussian_noise(GREY, sigma=sigma, seed=4).astype(float)
    assert noisy.std() == pytest.approx(sigma, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.5)
    assert abs(np.corrcoef(noisy[:, :, 0].ravel(), noisy[:, :, 1].ravel())[0, 1]) < 0.02
    assert appearance.blur(noisy.astype(np.uint8), 1.5).std() < 0.4 * sigma


def test_speckle_and_photons_scale_with_light_as_they_should():
    dark, light = (np.full((200, 200, 3), value, np.uint8) for value in (50, 200))
    low, high = (appearance.speckle(p, 0.1, 1).std() for p in (dark, light))
    assert (low, high) == (pytest.approx(5, rel=0.05), pytest.approx(20, rel=0.05))
    low, high = (appearance.poisson(p, 100, 1).astype(float) for p in (dark, light))
    assert low.mean() == pytest.approx(50, abs=0.6)
    # a Poisson count of n spreads by sqrt(n); 100 photons are 255
    assert low.std() == pytest.approx(np.sqrt(50 / 2.55) * 2.55, rel=0.03)
    assert high[high < 255].size > 0


def test_salt_and_pepper_hits_the_share_of_pixels_that_it_says():
    changed = appearance.salt_and_pepper(GREY, 0.1, 3)
    hit = (changed != 128).all(axis=2)
    assert hit.mean() == pytest.approx(0.1, abs=0.01)
    assert (changed[hit] == 255).mean() == pytest.approx(0.5, abs=0.05)


def test_gains_change_what_they_say_alone():
    pixels = noise() // 3 + 80
    assert appearance.brightness(pixels, 0.8).mean() == pytest.approx(0.8 * pixels.mean(), abs=0.5)
    assert appearance.contrast(pixels, 1.2).mean() == pytest.approx(pixels.mean(), abs=0.5)
    assert appearance.contrast(pixels, 1.2).std() == pytest.approx(1.2 * pixels.std(), rel=0.02)
    grey = appearance.colour(pixels, 0)
    assert (np.ptp(grey.astype(int), axis=2) == 0).all()
    assert appearance.colour(pixels, 1.4).mean() == pytest.approx(pixels.mean(), abs=1)
    assert (
        np.ptp(appearance.colour(pixels, 1.4).astype(int), axis=2).mean()
        > np.ptp(pixels.astype(int), axis=2).mean()
    )


def test_a_lower_quality_is_further_from_the_picture():
    pixels = np.kron(noise(12, 12), np.ones((8, 8, 1), np.uint8))
    errors = [np.abs(appearance.jpeg(pixels, q).astype(int) - pixels).mean() for q in (90, 50, 10)]
    assert errors == sorted(errors)
    assert errors[0] > 0
