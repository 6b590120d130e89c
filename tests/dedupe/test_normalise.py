"""Normalisation: the same for an image whatever it is searched with; plain pictures stand back."""

import numpy as np
import pytest

from darkroom.dedupe import normalise
from darkroom.dedupe.normalise import (
    load_background,
    mean_of_nearest,
    nearest_background,
    unusual_similarity,
)

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((60, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
BACKGROUND = VECTORS[:40] + 0.3 * RNG.standard_normal((40, 16)).astype(np.float32)
BACKGROUND /= np.linalg.norm(BACKGROUND, axis=1, keepdims=True)


def test_the_bundled_background_is_of_unit_length():
    assert np.linalg.norm(load_background(), axis=1) == pytest.approx(1, abs=1e-6)


def test_the_nearest_come_first_and_equal_ones_by_position():
    background = np.array([[0, 1], [1, 0], [0.6, 0.8], [1, 0]], np.float32)
    rows, near = nearest_background(np.array([[1, 0]], np.float32), background, 3)
    assert rows.tolist() == [[1, 3, 2]]
    assert near.tolist() == [[1, 1, 0.6]]


def test_a_small_background_gives_what_it_has():
    rows, near = nearest_background(VECTORS[:3], BACKGROUND[:2], 8)
    assert rows.shape == near.shape == (3, 2)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_neither_the_batch_nor_its_order_changes_a_value(monkeypatch, chunk):
    expected = mean_of_nearest(nearest_background(VECTORS, BACKGROUND, 2)[1])
    monkeypatch.setattr(normalise, "CHUNK", chunk)
    order = np.random.default_rng(1).permutation(len(VECTORS))
    found = mean_of_nearest(nearest_background(VECTORS[order], BACKGROUND, 2)[1])
    np.testing.assert_array_equal(found, expected[order])


def test_an_image_that_is_near_to_many_needs_more_to_be_near_to_one():
    plain, special = np.array([0.8]), np.array([0.3])
    similarity = np.array([0.9])
    assert normalise.normalise(similarity, plain, plain) < normalise.normalise(
        similarity, special, special
    )


@pytest.mark.parametrize("background", [None, "some"])
def test_what_is_unusual_depends_on_the_set(background):
    """Relatives do not move it; what all have in common does."""
    rng = np.random.default_rng(0)

    def unit(vectors):
        return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)

    many = rng.normal(size=(400, 64))
    beyond = None if background is None else unit(rng.normal(size=(50, 64)))
    differing = unusual_similarity(unit(many), beyond)
    bursts = np.repeat(many[:40], 10, axis=0) + 0.3 * rng.normal(size=(400, 64))
    assert differing < 0.6
    assert unusual_similarity(unit(bursts), beyond) == pytest.approx(differing, abs=0.1)
    assert unusual_similarity(unit(many + 3 * many[0]), beyond) > 0.85
    assert unusual_similarity(unit(many[:49]), beyond) == -1.0
