"""Views: always the network's shape, equal for equal seeds; held-out photographs stay out."""

import numpy as np
import pytest

from darkroom.core.shards import key_of
from darkroom.embedding.network import Network
from tools import copy_views
from tools.fit_copy_network import HOLDOUT, is_held_out, learning_rate


@pytest.mark.parametrize("seed", range(40))
def test_views_have_the_networks_shape_and_repeat(patches, seed):
    made = [
        copy_views.strong_view(patches[0], patches[1], 64, np.random.default_rng(seed))
        for _ in range(2)
    ]
    assert made[0].shape == (64, 64, 3)
    assert made[0].dtype == np.uint8
    assert np.array_equal(*made)
    assert copy_views.mild_view(patches[0], 64, np.random.default_rng(seed)).shape == (64, 64, 3)


def test_one_photograph_in_twelve_is_held_out():
    share = np.mean([is_held_out(key_of(str(n).encode())) for n in range(5000)])
    assert share == pytest.approx(1 / HOLDOUT, abs=0.015)


def test_the_rate_warms_up_and_decays_to_zero():
    rates = [learning_rate(step, 1000) for step in range(1001)]
    assert rates[0] < rates[50] < max(rates)
    assert rates[-1] == pytest.approx(0)


def test_embeddings_have_unit_length_and_do_not_depend_on_the_batch(patches):
    network = Network()
    size = network.size_px
    images = [np.ascontiguousarray(np.resize(p, (size, size, 3))) for p in patches[:20]]
    together = network.embed(images).vectors
    assert together.shape == (20, network.dimensions)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(together[17:18], network.embed(images[17:18]).vectors)
