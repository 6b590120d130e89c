"""Pictures in pictures: the nearest wholes of each image's regions, without a trace of history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.dedupe import regions
from darkroom.dedupe.regions import SCALE, find_placed

DIMENSIONS, REGIONS = 8, 3


def _vectors(seed, *shape):
    drawn = np.random.default_rng(seed).standard_normal((*shape, DIMENSIONS))
    return np.rint(SCALE * drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.int8)


# Some wholes are alike, so that nearness ties, and some regions hold another image's whole.
WHOLES = np.repeat(_vectors(1, 12), 4, axis=0)
INSIDE = _vectors(2, len(WHOLES), REGIONS)
INSIDE[::3, 1] = WHOLES[::-3]
CENTRES = _vectors(3, 5)
KEYS = [f"{number:032x}" for number in range(len(WHOLES))]


@pytest.fixture(autouse=True)
def few_centres(monkeypatch):
    monkeypatch.setattr(regions, "COARSE", 3)


def _find(rows, nearest, threshold, cache=None):
    keys = [KEYS[row] for row in rows]
    return find_placed(keys, WHOLES[rows], INSIDE[rows], CENTRES, nearest, threshold, cache)


def test_the_picture_that_holds_another_is_paired_with_it():
    wholes = np.array([[127, 0], [0, 127], [-127, 0]], np.int8)
    inside = np.array([[[0, 127], [90, 90]], [[-90, 90], [0, 127]], [[0, -127]] * 2], np.int8)
    found = find_placed(["a", "b", "c"], wholes, inside, wholes, 1, 0.9)
    assert found.pairs().tolist() == [[0, 1]]


@pytest.mark.parametrize("count", [0, 1])
def test_search_without_a_second_image(count):
    assert _find(np.arange(count), 3, 0.5).pairs().shape == (0, 2)


@pytest.mark.parametrize("at_once", [1, 2**22])
def test_each_image_keeps_its_nearest_with_ties_by_key(at_once, monkeypatch):
    monkeypatch.setattr(regions, "COMPARED_AT_ONCE", at_once)
    n, threshold, expected = len(KEYS), 0.6, set()
    near = (INSIDE.astype(int) @ WHOLES.T.astype(int)).max(axis=1)  # (n, n)
    for row in range(n):
        others = [o for o in range(n) if o != row and near[row, o] >= threshold * SCALE**2]
        others.sort(key=lambda other: (-near[row, other], other))
        expected |= {(min(row, other), max(row, other)) for other in others[:2]}
    found = _find(np.arange(n), 2, threshold).pairs()
    assert [tuple(pair) for pair in found] == sorted(expected)


@pytest.mark.parametrize("coarse_below", [0, 10**6], ids=["small cells", "large cells"])
def test_in_cells_what_is_found_is_what_shares_one(coarse_below, monkeypatch):
    exact = _find(np.arange(len(KEYS)), 2, 0.9).pairs().tolist()
    monkeypatch.setattr(regions, "EXACT_BELOW", 0)
    monkeypatch.setattr(regions, "COARSE_BELOW", coarse_below)
    for name in ("LARGE_CELLS", "SMALL_CELLS"):
        monkeypatch.setattr(regions, name, len(CENTRES))
    assert _find(np.arange(len(KEYS)), 2, 0.9).pairs().tolist() == exact
    for name in ("LARGE_CELLS", "SMALL_CELLS"):
        monkeypatch.setattr(regions, name, 1)
    found = _find(np.arange(len(KEYS)), len(KEYS), 0.95).pairs().tolist()
    placed = {(min(a, b), max(a, b)) for a, b in zip(range(48)[::3], range(48)[::-3], strict=True)}
    assert placed <= {tuple(pair) for pair in found}  # equal vectors are in one cell


@settings(max_examples=40, deadline=None)
@given(
    runs=st.lists(st.sets(st.integers(0, len(KEYS) - 1)), min_size=2, max_size=4),
    in_cells=st.booleans(),
)
def test_what_is_remembered_changes_nothing(runs, in_cells, tmp_path_factory):
    cache = tmp_path_factory.mktemp("regions") / "regions.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "EXACT_BELOW", 0 if in_cells else 10**6)
        for run in runs:
            rows = np.array(sorted(run), int)
            kept, fresh = _find(rows, 2, 0.5, cache), _find(rows, 2, 0.5)
            for before, after in zip(kept, fresh, strict=True):
                assert np.array_equal(before, after)


def test_a_changed_vector_is_searched_again(tmp_path):
    rows, cache = np.arange(10), tmp_path / "regions.npz"
    _find(rows, 2, 0.5, cache)
    changed = INSIDE[rows].copy()
    changed[4, 0] = WHOLES[9]
    again = find_placed(KEYS[:10], WHOLES[rows], changed, CENTRES, 2, 0.5, cache)
    assert np.array_equal(
        again.codes, find_placed(KEYS[:10], WHOLES[rows], changed, CENTRES, 2, 0.5).codes
    )
    cache.write_bytes(b"broken")
    assert np.array_equal(_find(rows, 2, 0.5, cache).codes, _find(rows, 2, 0.5).codes)
