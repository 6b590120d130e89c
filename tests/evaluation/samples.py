"""Drawn labels, scores and predictions, many of them with ties, to compare with other libraries."""

import numpy as np
import pytest

from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.scale import Scale
from darkroom.evaluation.metrics import BinaryScores, Settings
from darkroom.evaluation.operating_points import DefaultThreshold

EXACT = {"rel": 0, "abs": 1e-9}
SEEDS = pytest.mark.parametrize("seed", range(12))
SCALE = Scale(low=1, high=10, bins=10)
PARAMS = EvaluateParams(
    cutoff=5, positive_class=None, confidence=0.95, prevalence=0.02, specificity=0.9,
    costs=None, partial_auc_below=0.2, score_ranges=3, bootstrap=100,
)  # fmt: skip
SETTINGS = Settings.of(PARAMS, 17).model_copy(
    update={"bootstrap": 200, "prevalence": None, "partial_auc_below": 0.1}
)
DEFAULT = DefaultThreshold(3.0, "three")


def exactly(expected):
    return pytest.approx(expected, **EXACT)


def flags_and_scores(seed):
    """Return positives and scores, with many ties for every other seed."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(5, 400))
    positive = rng.random(count) < rng.uniform(0.05, 0.95)
    positive[:2] = True, False
    score = rng.normal(size=count) + rng.uniform(-0.5, 3) * positive
    return positive, score.round(seed % 2 * 8)


def pairs(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(5, 2, int(rng.integers(3, 300)))
    y = x + rng.normal(0, rng.uniform(0.1, 5), x.size)
    return x.round(seed % 3), y.round(seed % 3)


def weights_of(seed, count):
    """Return how often each image is drawn, and the numbers of the drawn images."""
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count))
    return times[None].astype(float), np.repeat(np.arange(count), times)


def probabilities(seed, count):
    """Return labels and probabilities (n, count), rounded so that some are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count, int(rng.integers(20, 300)))
    labels[:count] = np.arange(count)
    logits = rng.normal(size=(labels.size, count)) + 2 * np.eye(count)[labels]
    raw = np.exp(logits.round(1))
    return labels, raw / raw.sum(axis=1, keepdims=True)


def binary_task(seed, count, shift=1.5, per_group=1):
    """Return a task of normal scores; images of one group share half of their variance."""
    rng = np.random.default_rng(seed)
    positive = np.arange(count) % 2 == 0
    groups = np.arange(count) // per_group
    noise = rng.normal(size=count) if per_group == 1 else (
        (rng.normal(size=count) + rng.normal(size=count)[groups]) / np.sqrt(2)
    )  # fmt: skip
    return BinaryScores(positive, noise + shift * positive, groups)
