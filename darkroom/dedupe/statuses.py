"""What becomes of each image and each file: who stays, who represents whom, and why others go."""

from collections import defaultdict
from typing import Any

import pandas as pd

from darkroom.core import tables
from darkroom.core.graphs import Pair, connected_components
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.tables import null_to_none
from darkroom.dedupe.groups import apply_decisions, group_duplicates
from darkroom.dedupe.pairs import links_of
from darkroom.dedupe.representative import rank_images
from darkroom.labels.decisions import Decisions
from darkroom.labels.official_splits import strength
from darkroom.labels.resolve import rating_of

LEAKS = "leaks_into_"  # and the stronger official split: why the weaker side's copy goes
NEAR = "near_duplicate"  # why an image goes that is no edit, only near, where `all` are rejected
SURE_OF_LABELS = 0.95  # agreement from which a copy may outweigh two different labels


def group_images(
    keys: pd.DataFrame, pairs: pd.DataFrame, params: DedupeParams, decisions: Decisions
) -> pd.DataFrame:
    """Return GROUPS: who represents whom, which families there are, and why a copy is rejected."""
    groups = keys.copy()
    redundant = is_redundant(pairs, params)
    if params.rated_apart == "keep":
        redundant &= ~rated_differently(keys, pairs)
    apart = is_labelled_apart(keys, pairs, params)
    if params.labelled_apart == "conflict":
        decided = decisions.duplicate | decisions.not_duplicate
        clash = redundant & ~apart & labelled_differently(keys, pairs)
        disputed = {key for pair in set(links_of(pairs[clash])) - decided for key in pair}
        lost = groups["key"].isin(disputed - decisions.keep) & (groups["status"] == "kept")
        groups.loc[lost, ["status", "reason"]] = "rejected", "label_conflict"
        groups.loc[lost, "label_conflict"] = True
    settled = groups[groups["status"] == "kept"]
    ranked = rank_images(settled)
    there = pairs["key_a"].isin(ranked) & pairs["key_b"].isin(ranked)
    duplicates = apply_decisions(links_of(pairs[redundant & ~apart & there]), ranked, decisions)
    labels = {} if params.labelled_apart == "reject" else _labels(settled, decisions)
    representative = group_duplicates(ranked, duplicates, decisions.not_duplicate, labels)
    present = set(keys["key"])
    same = [pair for pair in decisions.duplicate if present.issuperset(pair)]
    family = connected_components(keys["key"], _family_links(pairs, ranked) + sorted(same))
    groups["representative"] = [representative.get(key) for key in keys["key"]]
    groups["copy_group"] = [representative.get(key, key) for key in keys["key"]]
    groups["family"] = [family[key] for key in keys["key"]]
    copies = groups["copy_group"] != groups["key"]
    near = set(links_of(pairs[redundant & ~pairs["duplicate"]]))
    official = dict(tables.rows(groups, ["key", "official_split"]))
    groups.loc[copies, "status"] = "rejected"
    groups.loc[copies, "reason"] = [
        copy_reason(
            row.official_split, official[row.representative],
            NEAR if (min(row.key, row.representative), max(row.key, row.representative)) in near
            else "copy",
        )
        for row in groups[copies].itertuples()
    ]  # fmt: skip
    return groups[tables.GROUPS.names]


def is_redundant(pairs: pd.DataFrame, params: DedupeParams) -> pd.Series:
    """Return for each pair whether one of the two is to go, as `dedupe.reject` says.

    Files of the same bytes are one image already: to `exact` no pair is.
    """
    if params.reject == "all":
        return pairs["duplicate"] | pairs["related"]
    return pairs["duplicate"] & (params.reject == "edits")


def mark_related(pairs: pd.DataFrame, params: DedupeParams, unusual: float) -> pd.DataFrame:
    """Return PAIRS that say which two are related: by what is seen of both, or as very near.

    Neither counts where the pair is no nearer than is usual in this set (`unusual_similarity`).
    """
    scene = (pairs["decided_by"] != "none") & (params.relatives != "copies")
    near = (pairs["normalised"] >= params.family_threshold) & (params.relatives == "near")
    return pairs.assign(related=(scene | near) & (pairs["normalised"] >= unusual))


def _family_links(pairs: pd.DataFrame, ranked: list[str]) -> list[Pair]:
    """Return the pairs that make a family: what was seen makes chains, nearness alone does not.

    Of images that are only near, each goes with the best one that it is near to itself.
    """
    seen = pairs["duplicate"] | (pairs["related"] & (pairs["decided_by"] != "none"))
    near = group_duplicates(ranked, links_of(pairs[pairs["related"] & ~seen]))
    return links_of(pairs[seen]) + [(best, key) for key, best in near.items() if key != best]


def labelled_differently(keys: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return for each pair whether both images have a label, and another."""
    label = keys.set_index("key")["label"]
    a, b = pairs["key_a"].map(label), pairs["key_b"].map(label)
    return a.notna() & b.notna() & (a != b)


def is_labelled_apart(keys: pd.DataFrame, pairs: pd.DataFrame, params: DedupeParams) -> pd.Series:
    """Return for each pair whether one of the two would go, and their labels keep both.

    A label is evidence: unless all is kept anyway, only a copy beyond doubt speaks against two.
    """
    apart = is_redundant(pairs, params) & labelled_differently(keys, pairs)
    if params.labelled_apart == "keep":
        return apart
    return apart & ~(pairs["duplicate"] & (pairs["agreement"] >= SURE_OF_LABELS))


def _labels(keys: pd.DataFrame, decisions: Decisions) -> dict[str, set[str]]:
    """Return the labels that no group may mix; what a person calls copies has those of all."""
    component = connected_components(
        {key for pair in decisions.duplicate for key in pair}, decisions.duplicate
    )
    labelled = keys[keys["label"].notna()]
    shared: defaultdict[str, set[str]] = defaultdict(set)
    for key, label in zip(labelled["key"], labelled["label"], strict=True):
        shared[component.get(key, key)].add(label)
    return {key: shared[component.get(key, key)] for key in labelled["key"]}


def rated_differently(keys: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return for each pair whether both images are rated, and differently."""
    columns = ["ratings", "mean", "std"]
    keys = keys[keys[columns].notna().any(axis=1)]
    ratings = [rating_of(*row) for row in tables.rows(keys, columns)]
    code = pd.Series(pd.factorize(pd.Series(ratings, dtype=object))[0], keys["key"])
    a, b = pairs["key_a"].map(code), pairs["key_b"].map(code)  # -1 where there is none
    return (a >= 0) & (b >= 0) & (a != b)


def copy_reason(official: Any, of_representative: Any, otherwise: str = "copy") -> str:
    """Return why a copy goes: an official split that leaks into a stronger one is named."""
    named = null_to_none(official) and null_to_none(of_representative)
    return f"{LEAKS}{named}" if named and named != official else otherwise


def record_statuses(
    index: pd.DataFrame, summary: pd.DataFrame, groups: pd.DataFrame
) -> pd.DataFrame:
    """Return RECORDS: the fate of each file that the user gave."""
    cleaned = _by_key(summary, ["status", "reason"])
    grouped = _by_key(groups, ["status", "reason", "representative"])
    official = dict(tables.rows(groups, ["key", "official_split"]))
    first = index[index["status"] == "kept"]
    first = first.assign(
        strength=[-strength(null_to_none(split)) for split in first["official_split"]]
    ).sort_values(["strength", "source", "name"], kind="stable")
    keepers = set(first.drop_duplicates("key").index)
    rows = []
    columns = ["source", "name", "key", "status", "reason", "official_split"]
    for place, row in zip(index.index, tables.rows(index, columns), strict=True):
        source, name, key, status, reason, split = row
        representative = None
        if status == "kept" and key not in grouped:
            status, reason = cleaned[key]
        elif status == "kept":
            status, reason, representative = grouped[key]
            same = status == "kept"
            if representative and not (same and place in keepers):
                status = "rejected"
                otherwise = "exact_duplicate" if same else NEAR if reason == NEAR else "copy"
                reason = copy_reason(split, official[representative], otherwise)
        rows.append((source, name, key, status, reason, representative))
    return pd.DataFrame(rows, columns=tables.RECORDS.names)


def _by_key(frame: pd.DataFrame, columns: list[str]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(frame["key"].tolist(), tables.rows(frame, columns), strict=True))
