"""What train, evaluate and predict see of one file is the same to the last pixel."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

from darkroom.core import shards, tables
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.evaluation.predictions import read_images
from darkroom.filters.preprocess import read_steps
from darkroom.images.decode import decode
from darkroom.images.grey_range import GreyRange
from darkroom.models import inputs, predict
from darkroom.models.backbones import input_rule
from darkroom.models.saved import SavedModel
from darkroom.models.stored_images import StoredImages


@pytest.fixture
def photograph(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(data.astronaut()).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def model(rule, steps, task):
    return SavedModel(task, ("a", "b"), None, 64, rule, b"", tuple(steps))


@pytest.fixture
def deep():
    """Return a picture in grey of 12 bits."""
    stream = io.BytesIO()
    Image.fromarray(data.camera().astype(np.uint16) * 16).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("rule", "task", "filters", "side"),
    [
        pytest.param("resize", "classification", [], 128, id="resize: decoded at a quarter"),
        pytest.param("resize", "rating", [], 512, id="rating: whole"),
        pytest.param("crop", "classification", [], 512, id="crop: whole"),
        pytest.param(
            "resize", "one_class", [{"filter": "median", "size_px": 3}], 512, id="filtered: whole"
        ),
    ],
)
def test_one_file_is_decoded_alike_everywhere(tmp_path, photograph, rule, task, filters, side):
    evaluated = decode_everywhere(tmp_path, photograph, rule, task, filters)
    assert min(evaluated.shape[:2]) == side


def test_a_deep_grey_is_shown_over_the_range_of_its_set_everywhere(tmp_path, deep):
    grey_range = GreyRange(0, 4095)
    evaluated = decode_everywhere(
        tmp_path, deep, "resize", "classification", [], grey_range=grey_range
    )
    np.testing.assert_array_equal(evaluated, decode(deep, grey_range=grey_range))
    assert np.abs(evaluated[:, :, 0].astype(int) - data.camera()).max() <= 1


def decode_everywhere(tmp_path, photograph, rule, task, filters, grey_range=None):
    """Return what evaluate sees of a file, once predict and train have seen the same."""
    steps = read_steps(filters, "params.yaml")
    key = shards.key_of(photograph)
    (place,) = shards.write_shard(tmp_path / "00000.tar", [(f"{key}.jpg", photograph)])
    row = dict.fromkeys(tables.INDEX.names) | {"key": key, "status": "kept"} | place._asdict()
    tables.write_table(pd.DataFrame([row]),
                       tmp_path / "index.parquet", tables.INDEX)  # fmt: skip
    (tmp_path / "a.jpg").write_bytes(photograph)
    saved = replace(model(rule, steps, task), grey_range=grey_range)
    (evaluated,) = read_images(tmp_path, [key], saved, {})
    predicted = predict._read(saved, tmp_path / "a.jpg")
    np.testing.assert_array_equal(evaluated, predicted)
    least = inputs.min_side(64, rule, task, bool(steps))
    rows = pd.DataFrame([place._asdict() | {"folder": "."}])
    (trained,) = StoredImages(tmp_path, rows, steps, least, max_pixels=10**8, grey_range=grey_range)
    np.testing.assert_array_equal(inputs.views(trained, 64, rule), saved._views(evaluated))
    return evaluated


def test_predict_keeps_to_the_limit_of_clean_that_the_model_was_trained_under(tmp_path, photograph):
    (tmp_path / "a.jpg").write_bytes(photograph)
    for limit, refused in ((512 * 512, False), (512 * 512 - 1, True)):
        saved = replace(model("resize", [], "classification"), max_pixels=limit)
        read = predict._read(saved, tmp_path / "a.jpg")
        assert (isinstance(read, str) and read.startswith("too_many_pixels")) == refused


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"backbone": "small"}, "crop"),
        ({"backbone": "MobileNetV2"}, "resize"),
        ({"backbone": "small", "task": "one_class", "outlier_method": "autoencoder"}, "resize"),
        ({"backbone": "small", "task": "one_class", "outlier_method": "svm"}, "crop"),
    ],
)
def test_the_rule_is_known_before_the_network_is_built(changes, rule, values):
    params = check_params(values, Params).train.model_copy(update=changes)
    assert input_rule(params) == rule
