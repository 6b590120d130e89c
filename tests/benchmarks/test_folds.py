import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.folds import divide
from stages.lib.failures import UserError


@settings(deadline=None)
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
