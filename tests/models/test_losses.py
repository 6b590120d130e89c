import numpy as np
import pytest

from darkroom.models.losses import (
    COMPACTNESS_SHARE,
    compactness,
    cross_entropy,
    emd_loss,
    one_class_loss,
    weight_by_class,
)
from darkroom.models.targets import strata


@pytest.mark.parametrize(
    ("target", "predicted", "loss"),
    [
        pytest.param([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 0.0, id="equal"),
        pytest.param([1, 0], [0, 1], np.sqrt(1 / 2), id="two bins, opposite"),
        pytest.param([1, 0, 0, 0], [0, 0, 0, 1], np.sqrt(3 / 4), id="farthest of four"),
        pytest.param([1, 0, 0, 0], [0, 1, 0, 0], np.sqrt(1 / 4), id="next of four"),
        pytest.param([0.5, 0.5, 0], [0, 0.5, 0.5], np.sqrt(2 * 0.25 / 3), id="half moved by two"),
    ],
)
def test_emd_of_known_distributions(target, predicted, loss):
    target, predicted = np.array([target], np.float32), np.array([predicted], np.float32)
    assert float(emd_loss(target, predicted)[0]) == pytest.approx(loss, abs=2e-5)
    assert float(emd_loss(predicted, target)[0]) == pytest.approx(loss, abs=2e-5)


def test_emd_of_equals_has_a_finite_slope():
    import tensorflow as tf

    same = tf.Variable([[0.25, 0.75]])
    with tf.GradientTape() as tape:
        loss = emd_loss(tf.constant([[0.25, 0.75]]), same)
    assert np.isfinite(tape.gradient(loss, same).numpy()).all()


def test_cross_entropy_of_known_shares():
    target = np.eye(2, dtype=np.float32)
    predicted = np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)
    result = np.asarray(cross_entropy(target, predicted))
    np.testing.assert_allclose(result, [np.log(2), -np.log(1e-7)], rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        pytest.param(cross_entropy, np.eye(3), id="classes"),
        pytest.param(emd_loss, [[0, 0.5, 0.5], [0.4, 0.3, 0.3], [1, 0, 0]], id="ratings"),
    ],
)
def test_a_weighted_loss_is_the_loss_times_the_weight_of_its_stratum(loss, targets):
    wanted = np.array(targets, np.float32)
    predicted = np.full((3, 3), 1 / 3, np.float32)
    weights = np.array([0.5, 2.0, 3.0], np.float32)
    plain = np.asarray(loss(wanted, predicted))
    result = np.asarray(weight_by_class(loss, weights)(wanted, predicted))
    np.testing.assert_allclose(result, plain * weights[strata(wanted)], rtol=1e-6)


def test_compactness_is_the_mean_squared_distance_from_the_others():
    features = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    counted = np.array([1, 1, 0, 1, 0, 1], np.float32)
    kept = features[counted == 1]
    others = [np.delete(kept, i, axis=0).mean(axis=0) for i in range(len(kept))]
    wanted = np.mean((kept - others) ** 2)
    assert float(compactness(features, counted)) == pytest.approx(wanted, rel=1e-5)
    n = len(kept)
    assert wanted == pytest.approx(kept.var(axis=0).mean() * n**2 / (n - 1) ** 2, rel=1e-5)
    assert float(compactness(features, np.array([1, 0, 0, 0, 0, 0], np.float32))) == 0.0


def test_the_loss_of_one_class_counts_each_kind_by_its_own():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(5, 4)).astype(np.float32)
    shares = rng.dirichlet(np.ones(3), 5).astype(np.float32)
    target = np.zeros((5, 7), np.float32)
    target[[2, 3, 4], [4, 5, 4]] = 1  # two normal images, then three of reference classes 0, 1, 0
    value = float(one_class_loss(4)(target, np.concatenate([features, shares], axis=1)))
    described = -np.mean(np.log(shares[[2, 3, 4], [0, 1, 0]]))
    close = np.mean((features[0] - features[1]) ** 2)
    assert value == pytest.approx(described + COMPACTNESS_SHARE * close, rel=1e-5)
