"""What dedupe counts for its metrics."""

from collections import Counter
from itertools import combinations

import pandas as pd

from darkroom.core.files import MetricTree
from darkroom.core.tables import null_to_none
from darkroom.dedupe.statuses import LEAKS, rated_differently
from darkroom.labels.decisions import ABOUT, Decisions
from darkroom.labels.official_splits import SPLITS


def summarise(groups: pd.DataFrame, pairs: pd.DataFrame, records: pd.DataFrame) -> MetricTree:
    """Return the counts that `metrics/dedupe.json` holds."""
    kept = groups[groups["status"] == "kept"]
    sizes = groups["representative"].value_counts()
    reasons = Counter(groups.loc[groups["status"] == "rejected", "reason"])
    record_reasons = Counter(records.loc[records["status"] == "rejected", "reason"])
    return {
        "images": len(groups),
        "kept": len(kept),
        "rejected": dict(sorted(reasons.items())),
        "records_rejected": dict(sorted(record_reasons.items())),
        "groups_of_copies": int((sizes > 1).sum()),
        "families": int(kept["family"].nunique()),
        "label_conflicts": int(groups["label_conflict"].sum()),
        "copies_labelled_otherwise": count_labelled_otherwise(groups),
        "pairs": {
            "candidates": len(pairs),
            "duplicates": int(pairs["duplicate"].sum()),
            "rated_apart": int((pairs["duplicate"] & rated_differently(groups, pairs)).sum()),
        },
    }


def count_leaks(official: pd.Series, records: pd.DataFrame) -> MetricTree:
    """Return how many records of a weaker official split leak into a stronger one.

    `official` has the split of each record, by its standard name.
    """
    reasons = records["reason"].map(lambda reason: null_to_none(reason) or "")
    counts = Counter(
        f"{source}_into_{reason.removeprefix(LEAKS)}"
        for source, reason in zip(official, reasons, strict=True)
        if reason.startswith(LEAKS)
    )
    ways = [f"{weak}_into_{strong}" for weak, strong in combinations(SPLITS, 2)]
    return {way: counts[way] for way in ways}


def count_labelled_otherwise(groups: pd.DataFrame) -> int:
    """Return how many copies have another label than the image that represents them."""
    labels = groups.set_index("key")["label"]
    copies = groups[groups["representative"].notna() & groups["label"].notna()]
    of_best = copies["representative"].map(labels)
    return int((of_best.notna() & (of_best != copies["label"])).sum())


def count_review(groups: pd.DataFrame, decisions: Decisions) -> MetricTree:
    """Return how many decisions of each kind name images that are here; clean counts the rest."""
    keys = set(groups["key"])
    return {kind: decisions.count(kind, keys) for kind in ABOUT if kind != "reject"}
