import pandas as pd
import pytest

from darkroom.checks.headers import header_scores


def scores(**image):
    columns = {"width": [100], "height": [100], "mode": ["RGB"], "bytes": [10_000]}
    table = pd.DataFrame(columns | {name: [value] for name, value in image.items()})
    return header_scores(table).iloc[0]


@pytest.mark.parametrize(
    ("width", "height", "score"), [(100, 100, 1), (35, 100, 0.35), (100, 35, 0.35), (1, 1, 1)]
)
def test_aspect_ratio_is_the_short_side_over_the_long_one(width, height, score):
    assert scores(width=width, height=height)["odd_aspect_ratio_score"] == pytest.approx(score)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F"])
def test_what_is_stored_grey_is_greyscale(mode):
    assert scores(mode=mode)["greyscale_score"] == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_what_is_stored_in_colour_is_not(mode):
    assert scores(mode=mode)["greyscale_score"] == 1


@pytest.mark.parametrize(("size", "score"), [(125, 0.1), (1250, 1), (9999, 1)])
def test_bits_per_pixel_up_to_one(size, score):
    assert scores(bytes=size)["low_bits_per_pixel_score"] == pytest.approx(score)


def test_a_table_without_images_gives_one_without_scores():
    empty = pd.DataFrame(columns=["width", "height", "mode", "bytes"])
    assert len(header_scores(empty)) == 0
