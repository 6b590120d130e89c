import numpy as np
import pandas as pd
import pytest

from darkroom.augmentation.operations import OPERATIONS
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.filters.preprocess import FILTERS, read_steps
from darkroom.report import augmentation_preview


def noise(height=112, width=84):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(112, 84), (2, 112), (1, 1)])
def test_every_operation_and_filter_is_shown_at_three_strengths(values, size):
    made = augmentation_preview.operations(noise(*size), check_params(values, Params))
    assert [strip.name for strip in made] == list(OPERATIONS)
    for strip in made:
        assert len(strip.samples) == (3 if OPERATIONS[strip.name].limit else 1)
    made = augmentation_preview.filters_of(noise(*size))
    assert [strip.name for strip in made] == list(FILTERS)


@pytest.mark.parametrize("name", FILTERS)
def test_the_strengths_are_in_range_and_differ(name):
    setting, values = augmentation_preview.STRENGTHS[name]
    for value in values:
        read_steps([{"filter": name, setting: value}], "here")
    strip = next(strip for strip in augmentation_preview.filters_of(noise()) if strip.name == name)
    assert len({sample.picture for sample in strip.samples}) == 3


def test_limits_are_those_of_the_parameters_and_labels_are_told(values):
    values["train"]["task"] = "classification"
    values["augment"] |= {"operations": [{"rotation": 90}], "target": 10}
    made = {
        s.name: s for s in augmentation_preview.operations(noise(), check_params(values, Params))
    }
    assert [sample.caption for sample in made["rotation"].samples] == [
        "degrees 30", "degrees 60", "degrees 90",
    ]  # fmt: skip
    assert (made["rotation"].note, made["blur"].note) == ("in use", "")
    values["train"]["task"] = "rating"
    values["augment"]["operations"] = "auto"
    made = {
        s.name: s for s in augmentation_preview.operations(noise(), check_params(values, Params))
    }
    assert (made["shift"].note, made["blur"].note) == ("in use", "not true to a rating")


class Album:
    def __init__(self, contents):
        self.contents = contents

    def content(self, key):
        return self.contents.get(key)


def test_without_an_image_that_decodes_there_is_nothing_to_show(values):
    rows = pd.DataFrame({"key": ["a", "b"], "status": ["kept", "rejected"]})
    params = check_params(values, Params)
    assert augmentation_preview.describe(Album({"a": b"no image"}), rows, {}, params) is None
    assert augmentation_preview.describe(Album({}), rows.head(0), {}, params) is None
