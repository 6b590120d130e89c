import numpy as np
import pandas as pd
import pytest

from darkroom.augmentation.operations import OPERATIONS
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.core.shards import write_shard
from darkroom.filters.preprocess import FILTERS, read_steps
from darkroom.images.previews import Place, Previews
from darkroom.report import augmentation_preview
from darkroom.report.image_store import ImageStore


def noise(height=112, width=84):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def filter_rows():
    return {row.name: row for row in augmentation_preview.preview_filters(noise())}


@pytest.mark.parametrize("size", [(112, 84), (2, 112), (1, 1)])
def test_every_operation_is_shown_at_three_settings(values, size):
    made = augmentation_preview.preview_operations(noise(*size), check_params(values, Params))
    assert [row.name for row in made] == list(OPERATIONS)
    for row in made:
        assert len(row.previews) == (3 if OPERATIONS[row.name].limit else 1)


@pytest.mark.parametrize("size", [(2, 112), (1, 1)])
def test_every_filter_is_shown_however_small_the_image(filter_rows, size):
    made = augmentation_preview.preview_filters(noise(*size))
    assert [row.name for row in made] == list(FILTERS) == list(filter_rows)


@pytest.mark.parametrize("name", FILTERS)
def test_the_settings_of_a_filter_are_in_range_and_differ(filter_rows, name):
    setting, values = augmentation_preview.FILTER_SETTINGS[name]
    for value in values:
        read_steps([{"filter": name, setting: value}], "here")
    assert len({picture for picture, _ in filter_rows[name].previews}) == 3


def test_limits_are_those_of_the_parameters_and_true_labels_are_noted(values):
    def preview():
        rows = augmentation_preview.preview_operations(noise(), check_params(values, Params))
        return {row.name: row for row in rows}

    values["train"]["task"] = "classification"
    values["augment"] |= {"operations": [{"rotation": 90}], "target": 10}
    made = preview()
    assert [caption for _, caption in made["rotation"].previews] == [
        "degrees 30", "degrees 60", "degrees 90",
    ]  # fmt: skip
    assert (made["rotation"].note, made["blur"].note) == ("in use", "")
    values["train"]["task"] = "rating"
    values["augment"]["operations"] = "auto"
    made = preview()
    assert (made["shift"].note, made["blur"].note) == ("in use", "not true to a rating")


def test_without_an_image_that_decodes_there_is_nothing_to_show(values, tmp_path):
    rows = pd.DataFrame({"key": ["a", "b"], "status": ["kept", "rejected"]})
    params = check_params(values, Params)
    (location,) = write_shard(tmp_path / "00000.tar", [("a.jpg", b"no image")])
    places = pd.DataFrame([Place(".", *location)], ["a"], Place._fields)
    store = ImageStore(Previews(tmp_path, places))
    assert augmentation_preview.describe(store, rows, {}, params) is None
    assert augmentation_preview.describe(store, rows.head(0), {}, params) is None
