"""Find the pairs of copies: candidates by their embeddings, verified by their pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.graphs import Pair
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.params.engine import EngineParams
from darkroom.dedupe.confirm import SCHEMA, VERSION, find_different
from darkroom.dedupe.evidence import QUESTION, PairCache, evidence_cache, verify_pairs
from darkroom.dedupe.groups import group_duplicates, unverified_links
from darkroom.dedupe.placed import placed_cache, read_interiors, verify_placed
from darkroom.dedupe.regions import find_placed, load_centres
from darkroom.dedupe.search import find_neighbours, score_pairs
from darkroom.images.previews import Previews


def find_pairs(
    pictures: Previews,
    embeddings: Path,
    names: list[str],
    aspects: NDArray[np.float64],
    vectors: NDArray[np.float32],
    background: NDArray[np.float32] | None,
    ranked: list[str],
    params: DedupeParams,
    engine: EngineParams,
    scratch: Path,
) -> pd.DataFrame:
    """Return PAIRS: candidates, verified, and those that shared a duplicate, verified as well.

    `embeddings` is the folder of embed; `aspects` (n,) are those of the images `names`, `vectors`
    (n, d) their embeddings, `background` those of background photographs; `ranked` holds every key,
    best first. What `scratch` remembers of earlier runs is not searched or verified again.
    """
    graph = find_neighbours(
        names, vectors, background, params.neighbours, params.candidate_threshold,
        scratch / "neighbours.npz",
    )  # fmt: skip
    candidates = score_pairs(names, vectors, graph.to_background, graph.pairs())
    cache, within = evidence_cache(scratch), placed_cache(scratch)
    inside = read_interiors(embeddings, names, aspects, scratch)

    def verify(candidates: pd.DataFrame, perhaps_placed: pd.DataFrame) -> pd.DataFrame:
        pairs = verify_pairs(pictures, embeddings, candidates, params.threshold, engine, cache)
        asked = _without(perhaps_placed, pairs[pairs["duplicate"]])
        placed = verify_placed(pictures, inside, asked, engine, within)
        return pd.concat([_without(pairs, placed), placed], ignore_index=True)

    rows = np.zeros((0, 2), np.int64)
    if params.candidate_threshold < 1:  # 1 is: look for nothing
        rows = find_placed(
            names, inside.regions[:, 0], inside.regions[:, 1:], load_centres(),
            cache=scratch / "placed.npz",
        ).pairs()  # fmt: skip
    pairs = verify(candidates, score_pairs(names, vectors, graph.to_background, rows))
    duplicates = links_of(pairs[pairs["duplicate"]])
    representative = group_duplicates(ranked, duplicates)
    known = set(links_of(pairs))
    shared = [p for p in unverified_links(representative, duplicates) if p not in known]
    row = {name: position for position, name in enumerate(names)}
    rows = np.array([(row[a], row[b]) for a, b in shared], np.int64).reshape(-1, 2)
    more = score_pairs(names, vectors, graph.to_background, rows)
    verified = verify(more, more)
    pairs = pd.concat([pairs, verified], ignore_index=True) if len(verified) else pairs
    for kept in (cache, within):
        kept.compact(set(names))
    inside.close()
    return pairs


def take_out_different(
    pairs: pd.DataFrame,
    group: Callable[[pd.DataFrame], pd.DataFrame],
    pictures: Previews,
    originals: pd.DataFrame,
    engine: EngineParams,
    scratch: Path,
) -> pd.DataFrame:
    """Return PAIRS in which no image goes for one that shows something else.

    `group` gives GROUPS for PAIRS. What would represent an image is compared with it once more; if
    they differ, another may represent it. So are copies that are kept apart all the same, by their
    labels or ratings. `originals` says by key where the bytes of each lie.
    """
    placed = placed_cache(scratch).table()
    placed = placed.merge(pairs.loc[pairs["decided_by"] == "placed", QUESTION], on=QUESTION)
    evidence = pd.concat([placed, evidence_cache(scratch).table()], ignore_index=True)
    evidence = evidence.drop_duplicates(QUESTION)
    cache = PairCache(scratch, "differences", VERSION, SCHEMA)
    asked: set[Pair] = set()
    while True:
        groups = group(pairs).dropna(subset="representative")
        best = dict(zip(groups["key"], groups["representative"], strict=True))
        new = {
            (a, b)
            for a, b in links_of(pairs[pairs["duplicate"]])
            if best.get(a) in {b, None} or best.get(b) in {a, None} or best[a] != best[b]
        } - asked
        if not new:
            break
        asked |= new
        different = find_different(sorted(new), pairs, pictures, originals, evidence, cache, engine)
        told = [pair in different for pair in links_of(pairs)]
        pairs.loc[told, ["duplicate", "decided_by"]] = False, "difference"
    cache.compact(set(originals.index))
    return pairs


def _without(pairs: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    known = set(links_of(others))
    return pairs[np.array([pair not in known for pair in links_of(pairs)], bool)]


def links_of(pairs: pd.DataFrame) -> list[Pair]:
    """Return the keys of each pair."""
    return list(zip(pairs["key_a"], pairs["key_b"], strict=True))
