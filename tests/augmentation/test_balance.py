import doctest
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from darkroom.augmentation import balance
from darkroom.augmentation.balance import distribute


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 120), st.integers(0, 9)
)  # fmt: skip
def test_the_target_is_met_and_what_is_rare_is_filled_first(strata, more, seed):
    parents = {f"{(7 * i + seed) % 41:02d}": s for i, s in enumerate(strata)}
    each = distribute(parents, len(parents) + more)
    assert sum(each.values()) == more
    assert list(each) == sorted(parents)
    before, after = Counter(parents.values()), Counter(parents.values())
    for key, new in each.items():
        after[parents[key]] += new
    filled = [after[s] for s in after if after[s] > before[s]]
    # Those that were filled end level, and none of the others is below them.
    assert not filled or max(filled) - min(filled) <= 1
    assert all(size >= max(filled) - 1 for size in after.values() if filled)
    for stratum in before:
        variants = [each[key] for key in parents if parents[key] == stratum]
        assert max(variants) - min(variants) <= 1


def test_one_stratum_is_shared_evenly_by_key():
    assert distribute({"b": 0, "a": 0, "c": 0}, 7) == {"a": 2, "b": 1, "c": 1}


def test_the_examples_hold():
    assert doctest.testmod(balance).failed == 0
