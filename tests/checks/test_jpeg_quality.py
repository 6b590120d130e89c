import io

import pytest
from PIL import Image
from skimage import data

from darkroom.checks.jpeg_quality import jpeg_quality_score


def tables_at(quality, **options):
    stream = io.BytesIO()
    Image.fromarray(data.chelsea()).save(stream, "JPEG", quality=quality, **options)
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        return image.quantization


@pytest.mark.parametrize("quality", [1, 2, 5, 10, 25, 49, 50, 51, 75, 90, 95, 99, 100])
def test_the_quality_that_libjpeg_was_asked_for_is_found_again(quality):
    assert jpeg_quality_score(tables_at(quality)) == quality / 100


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}])
def test_other_settings_do_not_matter(options):
    assert jpeg_quality_score(tables_at(30, **options)) == 0.3


def test_foreign_tables_get_the_nearest_quality():
    flat = jpeg_quality_score({0: [40] * 64})
    assert 0 < jpeg_quality_score({0: [255] * 64}) < flat < jpeg_quality_score({0: [2] * 64}) < 1


@pytest.mark.parametrize("tables", [None, {}])
def test_without_tables_there_is_nothing_to_complain_of(tables):
    assert jpeg_quality_score(tables) == 1


def test_of_several_tables_the_first_counts():
    assert jpeg_quality_score({1: [255] * 64, 0: [1] * 64}) == 1
