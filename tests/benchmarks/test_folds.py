import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.folds import Augmented, divide
from darkroom.augmentation.chains import Recipe, allowed_operations, apply, draw_variants
from darkroom.core.errors import UserError
from darkroom.core.params.load import check_params
from darkroom.core.params.whole import Params
from darkroom.filters.preprocess import preprocess, read_steps


@given(count=st.integers(30, 90), groups=st.integers(6, 18), seed=st.integers(0, 99))
def test_every_image_is_tested_once_and_no_group_is_on_two_sides(count, groups, seed):
    rng = np.random.default_rng(seed)
    names = np.array([f"photograph {g}" for g in np.arange(count) % groups], object)
    divided = divide(names, rng.integers(0, 5, count), 5, seed)
    assert sorted(np.concatenate([test for _, _, test in divided])) == list(range(count))
    for parts in divided:
        assert sorted(np.concatenate(parts)) == list(range(count))
        train, validation, test = (set(names[part]) for part in parts)
        assert train
        assert validation
        assert len(train | validation | test) == len(train) + len(validation) + len(test)


def test_too_few_groups_to_divide_are_an_error():
    with pytest.raises(UserError, match="at least 5 groups of images, got 3"):
        divide(np.array(["a", "b", "c"] * 9, object), np.zeros(27, int), 5, 1)


def test_variants_are_prepared_after_augmentation_as_train_does_it(values):
    step = {"filter": "laplacian"}  # its edges of a shifted picture are not its edges, shifted
    values["train"] |= {"task": "classification", "preprocess": [step]}
    params = check_params(values, Params)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    made = Augmented([pixels], pd.DataFrame({"key": ["a"]}), params, 4)
    limits = allowed_operations("classification", "auto")
    recipe = Recipe(limits, params.augment.operations_per_image, params.augment.fill)
    chains = [[], *draw_variants(params.seed, "a", 3, recipe, (40, 50))]
    for image, chain in zip(made, chains, strict=True):
        assert np.array_equal(image, preprocess(apply(pixels, chain), read_steps([step], "x")))
