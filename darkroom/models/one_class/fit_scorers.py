"""Fit what turns features of normal images into outlier scores, by scikit-learn.

`scores.py` has the scores themselves, in NumPy. Every fit is checked against scikit-learn's own
score of the same images, so that the two never drift apart.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.randomness import digest_number
from darkroom.models.one_class.scores import SCORES, Arrays, Reals, Scorer

NU = 0.1  # of the SVM: at most this share of the normal images is left outside
TREES = 200  # of the forest; path lengths settle well before (Liu, Ting and Zhou 2008, figure 5)
MAX_DIFFERENCE = 1e-6  # from scikit-learn's score, relative to the largest


def fit_scorer(
    method: str, normal: NDArray[np.float32], validation: NDArray[np.float32], seed: int
) -> Scorer:
    """Fit on `normal` (n, d), the network's outputs for the training images; n is 2 at least.

    `validation` (m, d) are those for the normal validation images, whose scores the scorer keeps.
    Raises RuntimeError when NumPy's scores are not scikit-learn's.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # sums depend on the number of threads, and the file must not
        arrays = FITS[method](np.asarray(normal, np.float64), seed) if method in FITS else {}
        scorer = Scorer(method, arrays, np.zeros(0))
        return Scorer(method, arrays, np.sort(scorer.score(validation)))


def fit_mahalanobis(normal: Reals, seed: int) -> Arrays:
    """Fit mean and covariance, shrunk as Ledoit and Wolf (2004) do: n may be below d."""
    from sklearn.covariance import LedoitWolf

    model = LedoitWolf().fit(normal)
    arrays = {"mean": model.location_, "precision": model.get_precision()}
    return _check_against_sklearn("mahalanobis", arrays, normal, model.mahalanobis(normal))


def fit_svm(normal: Reals, seed: int) -> Arrays:
    """Fit a one-class SVM with a Gaussian kernel, γ = 1 / (d · variance), on the features as given.

    Standardised, a feature that is seldom active among the normal images would count too much: out
    of fold, inside train, it does worse (benchmarks/one_class.py). Source: Schölkopf et al. 2001,
    Neural Computation 13:1443.
    """
    from sklearn.svm import OneClassSVM

    model = OneClassSVM(kernel="rbf", gamma="scale", nu=NU).fit(normal)
    variance = float(normal.var())
    gamma = 1 / (normal.shape[1] * variance) if variance else 1.0  # as scikit-learn's "scale"
    arrays = {
        "support": model.support_vectors_, "weights": model.dual_coef_[0],
        "intercept": model.intercept_[0], "gamma": np.float64(gamma),
    }  # fmt: skip
    return _check_against_sklearn("svm", arrays, normal, -model.decision_function(normal))


def fit_isolation_forest(normal: Reals, seed: int) -> Arrays:
    """Fit the forest, and lay its trees into one array of nodes. Source: Liu et al. 2008."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(
        n_estimators=TREES, random_state=digest_number(seed, "isolation_forest") % 2**32
    ).fit(normal)
    trees = [estimator.tree_ for estimator in forest.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    feature = np.concatenate([tree.feature for tree in trees])
    left, right = (
        np.concatenate([getattr(t, name) + root for t, root in zip(trees, roots, strict=True)])
        for name in ("children_left", "children_right")
    )
    arrays = {
        "feature": np.where(feature < 0, -1, feature), "left": left, "right": right,
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "length": np.concatenate([_lengths(tree) for tree in trees]),
        "roots": roots, "usual": average_path_length(np.array([forest.max_samples_]))[0],
    }  # fmt: skip
    return _check_against_sklearn("isolation_forest", arrays, normal, -forest.score_samples(normal))


def average_path_length(images: NDArray[np.int64]) -> Reals:
    """Return the mean path length of an isolation tree of so many images (n,), from 0 up.

    Source: Liu, Ting and Zhou 2008, eq. 1, with harmonic numbers as ln(i) + Euler's constant.

    >>> average_path_length(np.array([1, 2, 256])).round(3)
    array([ 0.   ,  1.   , 10.245])
    """
    more = np.maximum(images, 3) - 1.0
    long = 2 * (np.log(more) + np.euler_gamma) - 2 * more / (more + 1)
    return np.where(images <= 1, 0.0, np.where(images == 2, 1.0, long))


def _lengths(tree: Any) -> Reals:
    """Return each node's depth and the path length that its images would still need."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents come before their children
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return np.asarray(depth + average_path_length(tree.n_node_samples))


def _check_against_sklearn(method: str, arrays: Arrays, normal: Reals, expected: Reals) -> Arrays:
    difference = float(np.abs(SCORES[method](normal, arrays) - expected).max())
    if not difference <= MAX_DIFFERENCE * max(1.0, float(np.abs(expected).max())):
        raise RuntimeError(
            f"scorer {method}: expected scikit-learn's scores within {MAX_DIFFERENCE} of the"
            f" largest, got a difference of {difference}"
        )
    return arrays


FITS: dict[str, Callable[[Reals, int], Arrays]] = {
    "mahalanobis": fit_mahalanobis,
    "svm": fit_svm,
    "isolation_forest": fit_isolation_forest,
    "deep": lambda normal, seed: {"templates": normal.astype(np.float32)},  # the nearest counts
}
