"""Score normalisation: how near two images are, beyond how near each is to foreign photographs.

Some pictures (a plain wall, a product on white, a portrait) are near to many. Each image's
similarity to its nearest *background* photographs, which nobody will have copied, tells how much;
half of it, averaged over the two images, is taken off their similarity, as in the DISC21 protocol
(Douze et al. 2021, arXiv 2106.09672). One threshold then serves for every kind of picture.
"""

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

BACKGROUND = Path(__file__).parents[1] / "embedding" / "background.npy"
NEAREST = 2  # background photographs that are averaged; benchmarks/copies.py
WEIGHT = 0.5
DECIMALS = 6  # float32 sums differ behind this with the order of summation


def load_background() -> NDArray[np.float32]:
    """Return the bundled network's embeddings of background photographs, (m, d) of unit length."""
    stored = np.load(BACKGROUND, allow_pickle=False).astype(np.float32)  # (m, d)
    return np.array(stored / np.linalg.norm(stored, axis=1, keepdims=True), np.float32)


def background_similarity(
    vectors: NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return each vector's mean similarity to its nearest background photographs, (n,) in [-1, 1].

    `vectors` is (n, d), `background` (m, d), both of unit length. Each value depends on its own
    vector alone, whatever else is in the batch.
    """
    _, nearest = faiss.knn(vectors, background, NEAREST, metric=faiss.METRIC_INNER_PRODUCT)
    by_rank = [cosine(vectors, background[nearest[:, rank]]) for rank in range(NEAREST)]
    return np.round(np.mean(by_rank, axis=0), DECIMALS)


def normalise(
    similarity: NDArray[np.float64], of_a: NDArray[np.float64], of_b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return normalised similarities of pairs; `of_a` and `of_b` are to the background.

    >>> normalise(np.array([0.9]), np.array([0.4]), np.array([0.2]))
    array([0.75])
    """
    return np.round(similarity - WEIGHT * (of_a + of_b) / 2, DECIMALS)


def cosine(
    a: NDArray[np.float32], b: NDArray[np.float32], chunk: int = 100_000
) -> NDArray[np.float64]:
    """Return the cosine of each row of `a` with that row of `b`, (n,); both (n, d), unit length.

    Summed in float64, row by row, and rounded, so that it does not depend on the batch.
    """
    parts = [
        np.einsum("ij,ij->i", a[i : i + chunk], b[i : i + chunk], dtype=np.float64)
        for i in range(0, len(a), chunk)
    ]
    return np.round(np.concatenate(parts), DECIMALS) if parts else np.zeros(0)
