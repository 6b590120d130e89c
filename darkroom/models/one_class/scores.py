"""How far an image is from the normal ones: the scores of one-class models, in NumPy alone.

Each function maps features (n, d), and the arrays that fitting left, to scores (n,): the higher,
the more outlying. They give what scikit-learn's own estimators give, without importing them, so
that one image is predicted quickly, and the arrays lie in a plain `.npz`, which runs no code when
it is read. `fit_scorers.py` fits them.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

WIDE = ("mean", "support", "templates")  # arrays (…, d) for features (n, d)
ROWS_AT_ONCE = 1024  # bounds the memory of distances between features


@dataclass(frozen=True)
class Scorer:
    """A fitted way to turn the network's outputs into outlier scores."""

    method: str  # of SCORES
    arrays: Arrays  # what fitting left
    normal_scores: Reals  # (m,) of the normal validation images, ascending

    def score(self, outputs: NDArray[Any]) -> Reals:
        """Return (n,) outlier scores of the network's outputs (n, d)."""
        features = np.asarray(outputs, np.float64)
        parts = range(0, len(features), ROWS_AT_ONCE)
        scores = [SCORES[self.method](features[i : i + ROWS_AT_ONCE], self.arrays) for i in parts]
        return np.concatenate([np.zeros(0), *scores])

    def accepts(self, width: int) -> bool:
        """Return whether outputs (n, width) can be scored; a forest knows the least width alone.

        >>> Scorer("deep", {"templates": np.zeros((5, 2))}, np.zeros(0)).accepts(3)
        False
        """
        if self.method == "isolation_forest":
            return width > int(self.arrays["feature"].max())
        wide = (array for name, array in self.arrays.items() if name in WIDE)
        return width == next((array.shape[-1] for array in wide), 1)

    def share_below(self, score: float) -> float:
        """Return the share of the normal validation images whose score is lower, in [0, 1].

        >>> Scorer("error", {}, np.array([1.0, 2.0, 3.0, 4.0])).share_below(3.0)
        0.5
        """
        return float(np.searchsorted(self.normal_scores, score) / len(self.normal_scores))


def to_bytes(scorer: Scorer) -> bytes:
    """Return the scorer as an `.npz`, equal byte for byte when the scorer is."""
    stream = io.BytesIO()
    contents: dict[str, Any] = {"method": scorer.method, "normal_scores": scorer.normal_scores}
    np.savez(stream, **(contents | dict(scorer.arrays)))
    return stream.getvalue()


def from_bytes(content: bytes) -> Scorer:
    """Return the scorer of `to_bytes`; nothing in it is unpickled."""
    with np.load(io.BytesIO(content), allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    return Scorer(str(arrays.pop("method")), arrays, normal_scores=arrays.pop("normal_scores"))


def error(features: Reals, arrays: Arrays) -> Reals:
    """Return the network's own output (n, 1) as the score: an autoencoder's error."""
    return features[:, 0]


def mahalanobis(features: Reals, arrays: Arrays) -> Reals:
    """Return (x − μ)ᵀ Σ⁻¹ (x − μ), the squared distance of Mahalanobis (1936), from 0 up.

    `mean` is μ (d,), `precision` Σ⁻¹ (d, d), with Σ shrunk (Ledoit and Wolf 2004).

    >>> arrays = {"mean": np.zeros(2), "precision": np.diag([1.0, 0.25])}
    >>> mahalanobis(np.array([[3.0, 4.0]]), arrays)
    array([13.])
    """
    apart = features - arrays["mean"]  # (n, d)
    return np.asarray(np.einsum("nd,nd->n", apart @ arrays["precision"], apart))


def svm(features: Reals, arrays: Arrays) -> Reals:
    """Return −(Σᵢ αᵢ exp(−γ |x − sᵢ|²) + b): above 0 is outside of the learned region.

    sᵢ are `support` (s, d), αᵢ their `weights` (s,), b `intercept`, γ `gamma`. Source: Schölkopf et
    al. 2001, "Estimating the support of a high-dimensional distribution", Neural Computation
    13:1443, eq. 3.10.

    >>> arrays = {"support": np.zeros((1, 1)), "weights": np.ones(1),
    ...           "intercept": np.array(-0.5), "gamma": np.array(1.0)}
    >>> svm(np.array([[0.0], [10.0]]), arrays).round(3)
    array([-0.5,  0.5])
    """
    kernel = np.exp(-arrays["gamma"] * _squared_distances(features, arrays["support"]))  # (n, s)
    return np.asarray(-(kernel @ arrays["weights"] + arrays["intercept"]))


def isolation_forest(features: Reals, arrays: Arrays) -> Reals:
    """Return 2^(−mean path length / c), in (0, 1): few random cuts set an outlier apart.

    The trees lie in one array of nodes: `feature` (−1 for a leaf), `threshold`, `left` and `right`
    (positions of nodes), `length` (of a leaf: its depth, and what its images would still need);
    `roots` (t,) are where trees begin, `usual` is c, the mean path length of a tree of that many
    images. Source: Liu, Ting and Zhou 2008, "Isolation forest", eq. 1 and 2.

    >>> arrays = {"feature": np.array([0, -1, -1]), "threshold": np.array([0.5, 0, 0]),
    ...           "left": np.array([1, 0, 0]), "right": np.array([2, 0, 0]),
    ...           "length": np.array([0.0, 2.0, 1.0]), "roots": np.array([0]),
    ...           "usual": np.array(1.0)}
    >>> isolation_forest(np.array([[0.0], [1.0]]), arrays)
    array([0.25, 0.5 ])
    """
    cut = features.astype(np.float32)  # as scikit-learn's trees compare
    node = np.tile(arrays["roots"], (len(cut), 1))  # (n, t)
    rows = np.arange(len(cut))[:, None]
    while ((feature := arrays["feature"][node]) >= 0).any():
        below = cut[rows, feature] <= arrays["threshold"][node]
        further = np.where(below, arrays["left"][node], arrays["right"][node])
        node = np.where(feature >= 0, further, node)
    return np.asarray(2.0 ** (-arrays["length"][node].mean(axis=1) / arrays["usual"]))


def nearest(features: Reals, arrays: Arrays) -> Reals:
    """Return the distance to the nearest of the `templates` (m, d): normal training features.

    Source: template matching of Perera and Patel 2019 (arXiv 1801.05365).

    >>> nearest(np.array([[3.0, 4.0]]), {"templates": np.array([[0.0, 0.0], [9.0, 9.0]])})
    array([5.])
    """
    distances = _squared_distances(features, arrays["templates"])  # (n, m)
    return np.asarray(np.sqrt(distances.min(axis=1)))


def _squared_distances(a: Reals, b: NDArray[Any]) -> Reals:
    """Return |a − b|² of every pair: (n, d), (m, d) → (n, m)."""
    product = a @ b.T
    squares = (a**2).sum(axis=1)[:, None] - 2 * product + (b.astype(np.float64) ** 2).sum(axis=1)
    return np.asarray(np.maximum(squares, 0.0))


SCORES: dict[str, Callable[[Reals, Arrays], Reals]] = {
    "mahalanobis": mahalanobis,
    "svm": svm,
    "isolation_forest": isolation_forest,
    "autoencoder": error,
    "deep": nearest,
}
