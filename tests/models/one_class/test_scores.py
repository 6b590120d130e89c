import doctest

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

from darkroom.core.randomness import digest_number
from darkroom.models.one_class import fit_scorers, scores
from darkroom.models.one_class.fit_scorers import NU, TREES, fit_scorer

FITTED = ("mahalanobis", "svm", "isolation_forest", "deep")


@pytest.fixture(scope="module")
def features():
    """Return normal training, normal validation and outlying features, fewer rows than columns."""
    rng = np.random.default_rng(7)
    mix = rng.normal(size=(60, 60)) / 8
    normal, unseen, other = (rng.normal(size=(n, 60)) @ mix + 5 for n in (45, 20, 30))
    return tuple(part.astype(np.float32) for part in (normal, unseen, other * 1.5))


def sklearn_scores(method, normal, rows):
    normal, rows = normal.astype(np.float64), rows.astype(np.float64)
    if method == "mahalanobis":
        return LedoitWolf().fit(normal).mahalanobis(rows)
    if method == "svm":
        model = OneClassSVM(gamma="scale", nu=NU).fit(normal)
        return -model.decision_function(rows)
    if method == "isolation_forest":
        seed = digest_number(17, "isolation_forest") % 2**32
        return (
            -IsolationForest(n_estimators=TREES, random_state=seed).fit(normal).score_samples(rows)
        )
    return NearestNeighbors(n_neighbors=1).fit(normal).kneighbors(rows)[0][:, 0]


@pytest.mark.parametrize("module", [scores, fit_scorers])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("method", FITTED)
def test_scores_are_those_of_scikit_learn(features, method):
    normal, unseen, other = features
    scorer = fit_scorer(method, normal, unseen, seed=17)
    for rows in (unseen, other):
        wanted = sklearn_scores(method, normal, rows)
        np.testing.assert_allclose(scorer.score(rows), wanted, rtol=1e-6, atol=1e-6)
    assert (np.diff(scorer.normal_scores) >= 0).all()
    assert len(scorer.normal_scores) == len(unseen)


@pytest.mark.parametrize("method", FITTED)
def test_outliers_score_higher_and_order_or_company_change_nothing(features, method):
    normal, unseen, other = features
    scorer = fit_scorer(method, normal, unseen, seed=17)
    inside, outside = scorer.score(unseen), scorer.score(other)
    truth = np.repeat([0, 1], [len(inside), len(outside)])
    assert roc_auc_score(truth, np.concatenate([inside, outside])) > 0.75
    np.testing.assert_allclose(scorer.score(other[::-1]), outside[::-1], rtol=1e-12)
    np.testing.assert_allclose(scorer.score(other[:1]), outside[:1], rtol=1e-12)
    assert scorer.score(other[:0]).shape == (0,)


@pytest.mark.parametrize("method", [*FITTED, "autoencoder"])
def test_a_scorer_survives_its_file_and_the_file_repeats(features, method):
    normal, unseen, other = features
    first, again = (fit_scorer(method, normal, unseen, seed=17) for _ in range(2))
    content = scores.to_bytes(first)
    assert content == scores.to_bytes(again)
    read = scores.from_bytes(content)
    np.testing.assert_array_equal(read.score(other), first.score(other))
    assert read.share_below(np.inf) == 1.0
    assert read.share_below(-np.inf) == 0.0


def test_a_file_that_would_run_code_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", method=np.array(["svm"], dtype=object), normal_scores=np.zeros(1))
    with pytest.raises(ValueError, match="pickle"):
        scores.from_bytes((tmp_path / "x.npz").read_bytes())


def test_features_that_never_vary_are_no_error():
    same = np.ones((3, 4), np.float32)
    for method in FITTED:
        scores = fit_scorer(method, same, same, seed=1).score(same)
        assert np.isfinite(scores).all(), method
