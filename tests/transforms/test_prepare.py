import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.failures import UserError
from stages.transforms.prepare import FILTERS, PLANES, prepare, read_steps


def noise(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def read(**step):
    return read_steps([step], "params.yaml: train.prepare")


@pytest.mark.parametrize("on", PLANES)
@pytest.mark.parametrize("name", FILTERS)
def test_each_keeps_type_and_size_and_its_input_and_repeats_itself(name, on):
    steps, pixels = read(filter=name, on=on), noise()
    found = prepare(pixels, steps)
    assert (found.shape, found.dtype) == (pixels.shape, np.uint8)
    assert np.array_equal(pixels, noise())
    assert np.array_equal(found, prepare(pixels, steps))
    assert not np.array_equal(found, pixels)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(FILTERS)), st.sampled_from(PLANES), st.integers(3, 30), st.data())
def test_every_allowed_setting_works_on_every_size(name, on, height, data):
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
    pixels = noise(height, data.draw(st.integers(3, 30)))
    assert prepare(pixels, read(**step)).shape == pixels.shape


def test_no_step_changes_nothing_and_steps_follow_each_other():
    assert np.array_equal(prepare(noise(), []), noise())
    first, second = read(filter="median"), read(filter="unsharp")
    assert np.array_equal(
        prepare(noise(), [*first, *second]), prepare(prepare(noise(), first), second)
    )


def test_defaults_are_filled_in_so_that_the_card_says_all():
    assert read(filter="butterworth_low_pass") == [
        {"filter": "butterworth_low_pass", "on": "rgb", "cutoff": 0.1, "order": 2}
    ]


def test_grey_has_three_equal_channels():
    found = prepare(noise(), read(filter="gaussian", on="grey"))
    assert (found == found[:, :, :1]).all()


def test_hsv_keeps_the_hue_where_rgb_mixes_it():
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:, :10], pixels[:, 10:] = (200, 0, 40), (200, 40, 0)  # two reds, on both sides of 0
    hue = prepare(pixels, read(filter="mean", size_px=5, on="hsv"))
    assert np.array_equal(hue, pixels)
    black = np.zeros((20, 20, 3), np.uint8)
    black[:, 10:] = 255
    assert (np.ptp(prepare(black, read(filter="mean", on="hsv")).astype(int), axis=2) == 0).all()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"filter": "medan"}, r"prepare\[0\]\.filter: expected one of mean.*got 'medan'"),
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


def test_an_image_smaller_than_the_square_is_explained():
    with pytest.raises(UserError, match="squares of 9 px, and an image has only 50x5"):
        prepare(noise(5, 50), read(filter="median", size_px=9))
