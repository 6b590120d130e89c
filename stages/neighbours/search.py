"""Candidate pairs: the nearest neighbours of each embedding by cosine similarity, through faiss.

Exact search over n vectors of d dimensions holds 4·n·d bytes and costs n²·d operations.
"""

import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.neighbours.normalise import cosine, normalise


def candidate_pairs(
    keys: list[str],
    vectors: NDArray[np.float32],
    foreign: NDArray[np.float64],
    neighbours: int,
    at_least: float,
) -> pd.DataFrame:
    """Return pairs (`key_a` < `key_b`, `similarity`, `normalised`) among each image's nearest ones.

    `vectors` is (n, d) of unit length, `keys` its n rows, `foreign` (n,) their similarity to
    background photographs, zeros for none. Pairs of a normalised similarity of `at_least` remain.
    """
    if len(keys) < 2:
        return pd.DataFrame({"key_a": [], "key_b": [], "similarity": [], "normalised": []})
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    _, nearest = index.search(vectors, min(neighbours + 1, len(keys)))  # (n, k)
    rows = np.repeat(np.arange(len(keys)), nearest.shape[1])
    pairs = np.sort(np.stack([rows, nearest.ravel()], axis=1), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)  # (m, 2)
    return score_pairs(keys, vectors, foreign, pairs, at_least)


def score_pairs(
    keys: list[str],
    vectors: NDArray[np.float32],
    foreign: NDArray[np.float64],
    pairs: NDArray[np.int64],
    at_least: float,
) -> pd.DataFrame:
    """Return the pairs, rows of `vectors` as (m, 2), with both similarities, in order of key."""
    a, b = pairs[:, 0], pairs[:, 1]
    similarity = cosine(vectors[a], vectors[b])
    normalised = normalise(similarity, foreign[a], foreign[b])
    near = normalised >= at_least
    ordered = np.sort(np.array(keys, dtype=object)[pairs[near]], axis=1)
    return pd.DataFrame(
        {
            "key_a": ordered[:, 0],
            "key_b": ordered[:, 1],
            "similarity": similarity[near],
            "normalised": normalised[near],
        }
    ).sort_values(["key_a", "key_b"], ignore_index=True)
