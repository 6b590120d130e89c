"""What becomes of each image and each file: who stays, who represents whom, and why others go."""

from typing import Any

import pandas as pd

from darkroom.core import tables
from darkroom.core.graphs import connected_components
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.tables import null_to_none
from darkroom.dedupe.groups import apply_decisions, group_duplicates
from darkroom.dedupe.pairs import links_of
from darkroom.dedupe.representative import rank_images
from darkroom.labels.decisions import Decisions
from darkroom.labels.official_splits import strength
from darkroom.labels.resolve import rating_of

LEAKS = "leaks_into_"  # and the stronger official split: why the weaker side's copy goes


def group_images(
    keys: pd.DataFrame, pairs: pd.DataFrame, params: DedupeParams, decisions: Decisions
) -> pd.DataFrame:
    """Return GROUPS: who represents whom, which families there are, and why a copy is rejected."""
    redundant = pairs["duplicate"]
    if params.rated_apart == "keep":
        redundant = redundant & ~rated_differently(keys, pairs)
    ranked = rank_images(keys[keys["status"] == "kept"])
    duplicates = apply_decisions(links_of(pairs[redundant]), ranked, decisions)
    representative = group_duplicates(ranked, duplicates, decisions.not_duplicate)
    related = (
        pairs["duplicate"]
        | (pairs["normalised"] >= params.family_threshold)
        | (pairs["decided_by"] == "scene")
    )
    present = set(keys["key"])
    decided = [pair for pair in decisions.duplicate if present.issuperset(pair)]
    family = connected_components(keys["key"], links_of(pairs[related]) + sorted(decided))
    groups = keys.copy()
    groups["representative"] = [representative.get(key) for key in keys["key"]]
    groups["copy_group"] = [representative.get(key, key) for key in keys["key"]]
    groups["family"] = [family[key] for key in keys["key"]]
    copies = groups["copy_group"] != groups["key"]
    official = groups.set_index("key")["official_split"]
    groups.loc[copies, "status"] = "rejected"
    groups.loc[copies, "reason"] = [
        copy_reason(row.official_split, official[row.representative])
        for row in groups[copies].itertuples()
    ]
    return groups[tables.GROUPS.names]


def rated_differently(keys: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return for each pair whether both images are rated, and differently."""
    rating = {
        row.key: rating_of(row.ratings, row.mean, row.std)
        for row in keys[["key", "ratings", "mean", "std"]].itertuples(index=False)
    }
    both = [(rating[a], rating[b]) for a, b in links_of(pairs)]
    return pd.Series([None not in two and two[0] != two[1] for two in both], pairs.index, bool)


def copy_reason(official: Any, of_representative: Any) -> str:
    """Return why a copy goes: an official split that leaks into a stronger one is named."""
    named = null_to_none(official) and null_to_none(of_representative)
    return f"{LEAKS}{named}" if named and named != official else "copy"


def record_statuses(
    index: pd.DataFrame, summary: pd.DataFrame, groups: pd.DataFrame
) -> pd.DataFrame:
    """Return RECORDS: the fate of each file that the user gave."""
    cleaned = _by_key(summary, ["status", "reason"])
    grouped = _by_key(groups, ["status", "reason", "representative"])
    official = groups.set_index("key")["official_split"].to_dict()
    first = index[index["status"] == "kept"]
    first = first.assign(
        strength=[-strength(null_to_none(split)) for split in first["official_split"]]
    ).sort_values(["strength", "source", "name"], kind="stable")
    keepers = set(first.drop_duplicates("key").index)
    rows = []
    for row in index.itertuples():
        status, reason, representative = row.status, row.reason, None
        if row.status == "kept" and row.key not in grouped:
            status, reason = cleaned[row.key]
        elif row.status == "kept":
            status, reason, representative = grouped[row.key]
            same = status == "kept"
            if null_to_none(representative) and not (same and row.Index in keepers):
                status = "rejected"
                reason = copy_reason(row.official_split, official[representative])
                reason = "exact_duplicate" if same and reason == "copy" else reason
        rows.append((row.source, row.name, row.key, status, reason, representative))
    return pd.DataFrame(rows, columns=tables.RECORDS.names)


def _by_key(frame: pd.DataFrame, columns: list[str]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(frame["key"], frame[columns].itertuples(index=False), strict=True))
