"""Search: the near pairs and no others, remembered from run to run without a trace of history."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.dedupe import search
from darkroom.dedupe.normalise import mean_of_nearest, nearest_background, normalise
from darkroom.dedupe.search import find_neighbours, score_pairs

DIMENSIONS = 8


def _unit(rng, n):
    vectors = rng.standard_normal((n, DIMENSIONS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


BACKGROUND = _unit(np.random.default_rng(1), 40)
# Clusters, so that lists are full, and images that embed alike, so that nearness ties.
POOL = np.repeat(_unit(np.random.default_rng(2), 12), 5, axis=0)
POOL[::2] += 0.1 * _unit(np.random.default_rng(3), len(POOL))[::2]
POOL /= np.linalg.norm(POOL, axis=1, keepdims=True)
KEYS = [f"{number:032x}" for number in range(len(POOL))]


def candidate_pairs(keys, vectors, background, neighbours, threshold):
    graph = find_neighbours(keys, vectors, background, neighbours, threshold)
    return score_pairs(keys, vectors, graph.to_background, graph.pairs())


def test_search_finds_the_near_pairs_alone():
    vectors = np.array([[1, 0], [0.9, np.sqrt(1 - 0.81)], [0, 1]], np.float32)
    pairs = candidate_pairs(["a", "b", "c"], vectors, None, 2, 0.5)
    assert pairs.to_dict("records") == [
        {
            "key_a": "a",
            "key_b": "b",
            "similarity": pytest.approx(0.9),
            "normalised": pytest.approx(0.9),
        }
    ]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("background", [None, np.ones((1, 1), np.float32)], ids=["plain", "norm"])
def test_search_without_a_second_image(count, background):
    vectors = np.ones((count, 1), np.float32)
    assert len(candidate_pairs(["a"] * count, vectors, background, 5, 0.5)) == 0


def test_exact_search_keeps_each_image_s_nearest_with_ties_by_key():
    foreign = mean_of_nearest(nearest_background(POOL, BACKGROUND, 2)[1])
    nearness = normalise(
        np.round(POOL.astype(float) @ POOL.T.astype(float), 6), foreign[:, None], foreign[None]
    )
    np.fill_diagonal(nearness, -2)
    expected = set()
    for row in range(len(POOL)):
        for other in np.lexsort((np.arange(len(POOL)), -nearness[row]))[:3]:
            if nearness[row, other] >= 0.2:
                expected.add((min(row, int(other)), max(row, int(other))))
    found = find_neighbours(KEYS, POOL, BACKGROUND, 3, 0.2)
    assert [tuple(pair) for pair in found.pairs()] == sorted(expected)


def test_cells_find_copies_and_compare_few_pairs(monkeypatch):
    monkeypatch.setattr(search, "EXACT_BELOW", 10)
    rng = np.random.default_rng(4)
    background = rng.standard_normal((512, 32)).astype(np.float32)
    originals = rng.standard_normal((500, 32)).astype(np.float32)
    copies = originals + 0.5 * rng.standard_normal(originals.shape).astype(np.float32)
    vectors = np.concatenate([originals, copies])
    for part in (background, vectors):
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    keys = [f"{number:04d}" for number in range(len(vectors))]
    pairs = find_neighbours(keys, vectors, background, 20, 0.4).pairs()
    assert (pairs[:, 1] - pairs[:, 0] == 500).sum() > 0.97 * 500


@pytest.fixture(params=[10**6, 5], ids=["exact", "cells"])
def limit(request, monkeypatch):
    """Search exactly, or through cells; with small blocks and calls, so that there are several."""
    monkeypatch.setattr(search, "EXACT_BELOW", request.param)
    monkeypatch.setattr(search, "CELLS", 4)
    monkeypatch.setattr(search, "BLOCK", 16)
    monkeypatch.setattr(search, "COMPARED_AT_ONCE", 64)
    monkeypatch.setattr(search, "HELD_AT_ONCE", 50)


def _search(rows, memory=None):
    rows = sorted(rows)
    keys, vectors = [KEYS[row] for row in rows], POOL[rows]
    found = find_neighbours(keys, vectors, BACKGROUND, 3, 0.1, memory)
    return found, score_pairs(keys, vectors, found.to_background, found.pairs())


@pytest.mark.usefixtures("limit")
@given(history=st.lists(st.sets(st.integers(0, len(POOL) - 1), min_size=8), min_size=1, max_size=4))
@settings(max_examples=60)
def test_any_history_of_images_that_come_and_go_ends_as_from_scratch(tmp_path_factory, history):
    memory = tmp_path_factory.mktemp("memory") / "neighbours.npz"
    for rows in history:
        remembered, _ = _search(rows, memory)
    scratch, _ = _search(history[-1])
    for before, after in zip(remembered, scratch, strict=True):
        np.testing.assert_array_equal(before, after)


def test_nothing_new_is_searched_for_nothing(tmp_path, monkeypatch):
    memory = tmp_path / "neighbours.npz"
    _, pairs = _search(range(40), memory)
    monkeypatch.setattr(search, "_near_pairs", None)
    monkeypatch.setattr(search, "nearest_background", None)
    _, again = _search(range(40), memory)
    assert again.equals(pairs)


def test_an_embedding_that_changed_is_searched_again(tmp_path):
    memory = tmp_path / "neighbours.npz"
    _search(range(40), memory)
    changed = POOL[:40].copy()
    changed[3] = POOL[55]
    found = find_neighbours(KEYS[:40], changed, BACKGROUND, 3, 0.1, memory)
    scratch = find_neighbours(KEYS[:40], changed, BACKGROUND, 3, 0.1)
    np.testing.assert_array_equal(found.pairs(), scratch.pairs())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY"])
def test_a_broken_memory_is_made_again(tmp_path, content):
    memory = tmp_path / "neighbours.npz"
    memory.write_bytes(content)
    _, pairs = _search(range(40), memory)
    assert pairs.equals(_search(range(40))[1])
    assert pairs.equals(_search(range(40), memory)[1])


def test_exact_search_of_many_images_says_so(monkeypatch, caplog):
    monkeypatch.setattr(search, "EXACT_BELOW", 5)
    with caplog.at_level(logging.WARNING):
        find_neighbours(KEYS[:6], POOL[:6], None, 3, 0.1)
    assert "every pair" in caplog.text
