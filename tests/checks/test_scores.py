"""Laws that hold for every score of an image, and what the grid leaves of it."""

import doctest
import importlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from darkroom.checks.scores import GRID_PX, Scores, grid, header_scores, score


def flat(grey, height=40, width=60):
    return np.full((height, width, 3), grey, np.uint8)


def noise(height=120, width=160, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photograph(height=150, width=190):
    return data.chelsea()[:height, :width]


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(0, 255), st.sampled_from(["flat", "noise"])
)
def test_scores_are_fractions_whatever_the_image(height, width, grey, kind):
    pixels = flat(grey, height, width) if kind == "flat" else noise(height, width)
    assert all(0 <= value <= 1 for value in score(pixels))


@given(st.integers(1, 140), st.integers(1, 140), st.integers(0, 9), st.booleans())
def test_a_mirrored_image_has_the_same_scores(height, width, seed, real):
    pixels = photograph(height, width) if real else noise(height, width, seed)
    expected = score(pixels)
    for mirrored in (pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]):
        found = score(np.ascontiguousarray(mirrored))
        # resampling rounds: an edge of one grey level in 64 x 64 pixels
        assert found == pytest.approx(expected, abs=0.004)


def test_a_mirrored_photograph_has_nearly_the_same_scores_on_another_grid():
    pixels = data.astronaut()[:500, :507]
    assert grid(pixels).shape[0] < 100
    mirrored = score(np.ascontiguousarray(pixels[::-1, ::-1]))
    assert mirrored == pytest.approx(score(pixels), abs=0.02)


def test_grey_is_judged_by_how_the_file_stores_it():
    assert score(flat(102), None, stored_grey=True).low_information_score == 0


def test_an_image_without_tables_has_no_jpeg_quality_to_complain_of():
    assert score(flat(9)).low_jpeg_quality_score == 1


def test_a_grey_flat_image():
    found = score(flat(102))._asdict()
    assert found == pytest.approx({
        "blurry_score": found["blurry_score"], "dark_score": 0.4, "light_score": 0.6,
        "low_information_score": 0.158496, "clipped_score": 1, "colourless_score": 0,
        "colour_cast_score": 1, "uniform_border_score": 0, "low_jpeg_quality_score": 1,
    })  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 2), (96, 96), (143, 143)])
def test_small_and_thin_images_are_looked_at_whole(shape):
    assert grid(flat(0, *shape)).shape[:2] == shape


@pytest.mark.parametrize("shape", [(144, 144), (192, 192), (240, 320), (3000, 4000), (100, 20_000)])
def test_the_grid_is_odd_and_no_coarser_than_it_says(shape):
    numbers = np.arange(shape[0]) % 256
    pixels = np.zeros((*shape, 3), np.uint8) + numbers.astype(np.uint8)[:, None, None]
    rows = grid(pixels)[:, 0, 0]
    assert set(np.diff(rows.astype(int)) % 256) < {1, 3, 5, 7, 9, 11, *range(13, 73, 2)}
    assert grid(pixels).size / 3 > 0.9 * GRID_PX**2


def test_a_dither_of_two_levels_keeps_both():
    checkers = np.indices((600, 600)).sum(axis=0) % 2 * 255
    sample = grid(np.repeat(checkers[:, :, None], 3, axis=2).astype(np.uint8))
    assert 0.49 < (sample == 255).mean() < 0.51


@pytest.mark.parametrize(
    "module", ["borders", "colours", "exposure", "jpeg_quality", "outliers", "scores"]
)
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"darkroom.checks.{module}"))
    assert found.attempted
    assert not found.failed


def test_every_score_is_a_column_of_its_own():
    assert len(set(Scores._fields)) == len(Scores._fields)
    assert all(name.endswith("_score") for name in Scores._fields)


def header_of(**image):
    columns = {"width": [100], "height": [100], "mode": ["RGB"], "bytes": [10_000]}
    table = pd.DataFrame(columns | {name: [value] for name, value in image.items()})
    return header_scores(table).iloc[0]


@pytest.mark.parametrize(
    ("width", "height", "score"), [(100, 100, 1), (35, 100, 0.35), (100, 35, 0.35), (1, 1, 1)]
)
def test_aspect_ratio_is_the_short_side_over_the_long_one(width, height, score):
    assert header_of(width=width, height=height)["odd_aspect_ratio_score"] == pytest.approx(score)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F"])
def test_what_is_stored_grey_is_greyscale(mode):
    assert header_of(mode=mode)["greyscale_score"] == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_what_is_stored_in_colour_is_not(mode):
    assert header_of(mode=mode)["greyscale_score"] == 1


@pytest.mark.parametrize(("size", "score"), [(125, 0.1), (1250, 1), (9999, 1)])
def test_bits_per_pixel_up_to_one(size, score):
    assert header_of(bytes=size)["low_bits_per_pixel_score"] == pytest.approx(score)


def test_a_table_without_images_gives_one_without_scores():
    empty = pd.DataFrame(columns=["width", "height", "mode", "bytes"])
    assert len(header_scores(empty)) == 0
