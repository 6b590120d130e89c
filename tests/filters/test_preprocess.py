import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.filters import preprocess as module
from darkroom.filters.preprocess import FILTERS, PLANES, kernel_px, preprocess, read_steps


def noise(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def read(**step):
    return read_steps([step], "params.yaml: train.preprocess")


@pytest.mark.parametrize("on", PLANES)
@pytest.mark.parametrize("name", FILTERS)
def test_each_keeps_type_and_size_and_its_input_and_repeats_itself(name, on):
    steps, pixels = read(filter=name, on=on), noise()
    found = preprocess(pixels, steps)
    assert (found.shape, found.dtype) == (pixels.shape, np.uint8)
    assert np.array_equal(pixels, noise())
    assert np.array_equal(found, preprocess(pixels, steps))
    assert not np.array_equal(found, pixels)


@settings(max_examples=60)
@given(st.sampled_from(sorted(FILTERS)), st.sampled_from(PLANES), st.integers(0, 30), st.data())
def test_every_allowed_setting_works_on_every_size_from_its_kernel_on(name, on, more, data):
    step = {"filter": name, "on": on}
    for setting, allowed in FILTERS[name].settings.items():
        most = min(allowed.high, 40)  # sweeps and components without end are slow
        if isinstance(allowed.default, int):
            value = data.draw(st.integers(int(allowed.low), int(most)))
            step[setting] = value | 1 if allowed.odd else value
        else:
            step[setting] = data.draw(st.floats(allowed.low, allowed.high))
    step["size_px"] = 3
    if "size_px" not in FILTERS[name].settings:
        del step["size_px"]
    steps = read(**step)
    least = kernel_px(steps[0])
    pixels = noise(least + more, least + data.draw(st.integers(0, 30)))
    assert preprocess(pixels, steps).shape == pixels.shape


def test_no_step_changes_nothing_and_steps_follow_each_other():
    assert np.array_equal(preprocess(noise(), []), noise())
    first, second = read(filter="median"), read(filter="unsharp")
    assert np.array_equal(
        preprocess(noise(), [*first, *second]), preprocess(preprocess(noise(), first), second)
    )


def test_defaults_are_filled_in_so_that_the_card_says_all():
    assert read(filter="butterworth_low_pass") == [
        {"filter": "butterworth_low_pass", "on": "rgb", "cutoff": 0.1, "order": 2}
    ]


def test_grey_has_three_equal_channels():
    found = preprocess(noise(), read(filter="gaussian", on="grey"))
    assert (found == found[:, :, :1]).all()


def test_hsv_keeps_the_hue_where_rgb_mixes_it():
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, :10], pixels[:, 10:] = (200, 0, 40), (200, 40, 0)  # two reds, on both sides of 0
    hue = preprocess(pixels, read(filter="mean", size_px=5, on="hsv"))
    assert np.array_equal(hue, pixels)
    black = np.zeros((20, 20, 3), np.uint8)
    black[:, 10:] = 255
    assert (np.ptp(preprocess(black, read(filter="mean", on="hsv")).astype(int), axis=2) == 0).all()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"filter": "medan"}, r"preprocess\[0\]\.filter: expected one of mean.*got 'medan'"),
        ({}, "got None"),
        ({"filter": "median", "size_px": 4}, "size_px: expected an odd number from 3 to 31; got 4"),
        ({"filter": "median", "size_px": 3.0}, "size_px: expected an odd number.*got 3.0"),
        ({"filter": "median", "size_px": True}, "got True"),
        ({"filter": "gaussian", "sigma_px": 0}, "sigma_px: expected a number from 0.3 to 20"),
        ({"filter": "gaussian", "sigma_px": float("nan")}, "got nan"),
        ({"filter": "gaussian", "size_px": 3}, "gaussian has no size_px; it knows sigma_px and on"),
        ({"filter": "ising", "flipped": 0.5}, "flipped: expected a number from 0.001 to 0.499"),
        ({"filter": "mean", "on": "hue"}, r"\.on: expected one of rgb, grey, hsv; got 'hue'"),
    ],
)
def test_a_wrong_step_is_explained(step, message):
    with pytest.raises(UserError, match=message):
        read(**step)


@pytest.mark.parametrize(
    ("step", "side"),
    [
        ({"filter": "median", "size_px": 9}, 9), ({"filter": "gaussian", "sigma_px": 2.0}, 17),
        ({"filter": "unsharp", "sigma_px": 1}, 9),
        ({"filter": "laplacian_of_gaussian", "sigma_px": 1.5}, 13),
    ],
)  # fmt: skip
def test_an_image_smaller_than_the_kernel_is_explained(step, side):
    message = f"squares of {side} px, and an image has only 50x{side - 1}"
    with pytest.raises(UserError, match=message):
        preprocess(noise(side - 1, 50), read(**step))
    assert preprocess(noise(side, 50), read(**step)).shape == (side, 50, 3)


def test_the_examples_hold():
    assert doctest.testmod(module).failed == 0
