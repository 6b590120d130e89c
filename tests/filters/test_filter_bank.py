import doctest

import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.filters import butterworth
from sklearn.decomposition import PCA

from benchmarks import reference_filters
from darkroom.filters import filter_bank

planes = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def noise(height=24, width=31, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def photograph():
    y, x = np.mgrid[0:64, 0:80]
    return (128 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7)).astype(np.uint8)


@settings(max_examples=40)
@given(planes, st.sampled_from([3, 5]))
def test_conservative_smoothing_is_that_of_a_loop_over_pixels(plane, size):
    assert np.array_equal(
        filter_bank.conservative(plane, size), reference_filters.conservative(plane, size)
    )


@settings(max_examples=25)
@given(planes, st.integers(1, 2))
def test_crimmins_is_that_of_a_loop_over_pixels(plane, iterations):
    assert np.array_equal(
        filter_bank.crimmins(plane, iterations), reference_filters.crimmins(plane, iterations)
    )


def test_crimmins_raises_in_all_directions_before_it_lowers_as_hipr2_lists_it():
    spike = np.zeros((5, 5), np.uint8)
    spike[2, 2] = 8
    assert not filter_bank.crimmins(spike, 1).any()


def test_crimmins_flattens_speckle_and_spares_a_step():
    rng = np.random.default_rng(0)
    step = np.full((60, 60), 60, np.uint8)
    step[:, 30:] = 190
    speckled = np.clip(step * rng.normal(1, 0.05, step.shape), 0, 255).astype(np.uint8)
    cleaned = filter_bank.crimmins(speckled, 5)
    assert cleaned[5:-5, 5:25].std() < 0.5 * speckled[5:-5, 5:25].std()
    assert cleaned[5:-5, 35:].mean() - cleaned[5:-5, :25].mean() > 120


def shapes():
    picture = np.zeros((200, 240), np.uint8)
    cv2.circle(picture, (80, 90), 55, 255, -1)
    cv2.rectangle(picture, (150, 40), (220, 170), 255, -1)
    cv2.line(picture, (10, 190), (230, 10), 0, 9)
    return picture


def test_ising_denoising_is_that_of_a_loop_over_pixels():
    picture = np.where(shapes()[60:90, 110:160] > 0, 255, 0).astype(np.uint8)
    flipped = np.random.default_rng(2).random(picture.shape) < 0.1
    noisy = np.where(flipped, 255 - picture, picture).astype(np.uint8)
    found = filter_bank.ising(noisy, 1.0, 0.1, 8, seed=3)
    assert np.array_equal(found, reference_filters.ising(noisy, 1.0, 0.1, 8, seed=3))


@pytest.mark.parametrize("seed", range(5))
def test_ising_denoising_leaves_under_1_percent_of_10_percent_wrong(seed):
    flipped = np.random.default_rng(seed).random(shapes().shape) < 0.1
    noisy = np.where(flipped, 255 - shapes(), shapes()).astype(np.uint8)
    assert (filter_bank.ising(noisy, 1.0, 0.1, 20, seed) != shapes()).mean() < 0.01


def test_ising_without_coupling_believes_what_it_sees():
    noisy = np.where(noise() > 127, 255, 0).astype(np.uint8)
    assert np.array_equal(filter_bank.ising(noisy, 0.0, 0.1, 4), noisy)


def test_low_and_high_pass_add_up_and_keep_what_they_should():
    plane = photograph()
    low = filter_bank.ideal_low_pass(plane, 0.05).astype(int)
    high = filter_bank.ideal_high_pass(plane, 0.05).astype(int) - filter_bank.NO_RESPONSE
    assert np.abs(low + high - plane).max() <= 1
    assert np.array_equal(filter_bank.ideal_low_pass(plane, 0.8), plane)
    assert np.abs(filter_bank.ideal_low_pass(plane, 1e-9) - plane.mean()).max() <= 0.5


@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize(("cutoff", "order"), [(0.05, 1), (0.2, 2), (0.4, 8)])
def test_butterworth_is_scikit_images(cutoff, order, high):
    plane = noise(40, 52)
    ours = filter_bank.butterworth_high_pass if high else filter_bank.butterworth_low_pass
    mirrored = np.pad(plane.astype(float), ((0, 40), (0, 52)), mode="symmetric")
    theirs = butterworth(mirrored, cutoff, high, order, squared_butterworth=False)[:40, :52]
    expected = np.clip(np.rint(theirs + (filter_bank.NO_RESPONSE if high else 0)), 0, 255)
    assert np.abs(ours(plane, cutoff, order).astype(int) - expected).max() <= 1


def test_laplacians_answer_to_a_point_as_their_formulas_say():
    point = np.full((21, 21), 100, np.uint8)
    point[10, 10] = 110
    response = filter_bank.laplacian(point, 1.0).astype(int) - filter_bank.NO_RESPONSE
    assert (response[10, 10], response[9, 10], response[9, 9]) == (-40, 10, 0)
    bright = (
        filter_bank.laplacian_of_gaussian(point, 1.0, 10.0).astype(int) - filter_bank.NO_RESPONSE
    )
    # -1 / (pi sigma^4) at the centre, times sigma^2, times the height of the point and the gain
    assert bright[10, 10] == pytest.approx(-100 / np.pi, abs=3)
    assert not (
        filter_bank.laplacian(np.full((9, 9), 77, np.uint8), 5.0) - filter_bank.NO_RESPONSE
    ).any()


@pytest.mark.parametrize("sigma", [0.7, 1, 20])
def test_laplacian_of_gaussian_has_no_response_to_a_plain(sigma):
    plain = np.full((30, 40), 255, np.uint8)
    assert (filter_bank.laplacian_of_gaussian(plain, sigma, 20.0) == filter_bank.NO_RESPONSE).all()


def test_unsharp_widens_a_step_and_leaves_a_plain():
    step = np.full((9, 40), 100, np.uint8)
    step[:, 20:] = 150
    sharp = filter_bank.unsharp(step, 2.0, 1.0).astype(int)
    assert sharp[4, 19] < 100 < 150 < sharp[4, 20]
    assert (sharp[4, 0], sharp[4, -1]) == (100, 150)


@pytest.mark.parametrize("components", [1, 3, 10, 24])
def test_compression_is_that_of_scikit_learn(components):
    plane = noise()
    found, explained = filter_bank.compress(plane, components)
    theirs = PCA(components, svd_solver="full").fit(plane.astype(float))
    rebuilt = theirs.inverse_transform(theirs.transform(plane.astype(float)))
    assert np.abs(found - np.clip(np.rint(rebuilt), 0, 255)).max() <= 1
    assert explained == pytest.approx(theirs.explained_variance_ratio_.sum(), abs=1e-12)


def test_all_components_give_the_plane_back():
    assert np.array_equal(filter_bank.compress(noise(), 1000)[0], noise())
    assert filter_bank.compress(noise(), 1000)[1] == pytest.approx(1)


@settings(max_examples=25)
@given(planes.filter(lambda plane: min(plane.shape) >= 3))
def test_smoothing_is_that_of_scipy(plane):
    mirror = {"mode": "mirror"}
    mean = scipy.ndimage.uniform_filter(plane.astype(float), 3, **mirror)
    assert np.abs(filter_bank.mean(plane, 3) - mean).max() <= 0.51
    gaussian = scipy.ndimage.gaussian_filter(plane.astype(float), 0.5, radius=2, **mirror)
    assert np.abs(filter_bank.gaussian(plane, 0.5) - gaussian).max() <= 1.5
    assert np.array_equal(
        filter_bank.median(plane, 3), scipy.ndimage.median_filter(plane, 3, mode="nearest")
    )


def test_the_examples_hold():
    assert doctest.testmod(filter_bank).failed == 0
