"""Candidate pairs: the nearest neighbours of each embedding by cosine similarity, through faiss.

Exact search over n vectors of d dimensions holds 4·n·d bytes and costs n²·d operations.
"""

import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray

DECIMALS = 6  # float32 sums differ behind this with the order of summation


def candidate_pairs(
    keys: list[str], vectors: NDArray[np.float32], neighbours: int, at_least: float
) -> pd.DataFrame:
    """Return pairs (`key_a` < `key_b`, `similarity`) among each image's nearest ones.

    `vectors` is (n, d) of unit length, `keys` its n rows. Similarity is in [-1, 1], rounded, and
    computed pair by pair in float64, so that it does not depend on how faiss batches its work.
    """
    if len(keys) < 2:
        return pd.DataFrame({"key_a": [], "key_b": [], "similarity": []})
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    _, nearest = index.search(vectors, min(neighbours + 1, len(keys)))  # (n, k)
    rows = np.repeat(np.arange(len(keys)), nearest.shape[1])
    pairs = np.sort(np.stack([rows, nearest.ravel()], axis=1), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)  # (m, 2)
    similarity = _similarity(vectors, pairs)
    near = similarity >= at_least
    names = np.array(keys, dtype=object)
    ordered = np.sort(names[pairs[near]], axis=1)
    return pd.DataFrame(
        {"key_a": ordered[:, 0], "key_b": ordered[:, 1], "similarity": similarity[near]}
    ).sort_values(["key_a", "key_b"], ignore_index=True)


def _similarity(
    vectors: NDArray[np.float32], pairs: NDArray[np.int64], chunk: int = 100_000
) -> NDArray[np.float64]:
    parts = [
        np.einsum(
            "ij,ij->i",
            vectors[pairs[i : i + chunk, 0]].astype(np.float64),
            vectors[pairs[i : i + chunk, 1]].astype(np.float64),
        )
        for i in range(0, len(pairs), chunk)
    ]
    return np.round(np.concatenate(parts), DECIMALS) if parts else np.zeros(0)
