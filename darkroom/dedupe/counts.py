"""What dedupe counts for its metrics."""

import logging
from collections import Counter
from itertools import combinations

import pandas as pd

from darkroom.core.files import MetricTree
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.tables import null_to_none
from darkroom.dedupe.statuses import LEAKS, is_labelled_apart, is_redundant, rated_differently
from darkroom.labels.decisions import ABOUT, Decisions
from darkroom.labels.official_splits import SPLITS

logger = logging.getLogger(__name__)


def summarise(
    groups: pd.DataFrame, pairs: pd.DataFrame, records: pd.DataFrame, params: DedupeParams
) -> MetricTree:
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
            "rated_apart": int(
                (is_redundant(pairs, params) & rated_differently(groups, pairs)).sum()
            ),
            "labelled_apart": int(is_labelled_apart(groups, pairs, params).sum()),
        },
    }


def say_everything_is_near(unusual: float, params: DedupeParams) -> None:
    """Log that similarity relates nothing in this set, where it does not."""
    if params.relatives == "near" and unusual > params.family_threshold:
        logger.info(
            "dedupe: the images of this set are near to each other throughout: two are relatives"
            " above a similarity of %.2f only, not of %.2f (dedupe.family_threshold)",
            unusual, params.family_threshold,
        )  # fmt: skip


def say_labelled_otherwise(metrics: MetricTree) -> None:
    """Log what became of copies that have different labels, each in a sentence."""
    apart, gone = metrics["pairs"]["labelled_apart"], metrics["copies_labelled_otherwise"]
    if apart:
        logger.warning(
            "dedupe: %d pairs look like copies and have different labels: both images stay and go"
            " to one split (dedupe.labelled_apart); `darkroom review` shows them", apart,
        )  # fmt: skip
    if gone:
        logger.warning(
            "dedupe: %d images were rejected as copies of an image with another label; see the"
            " column `representative` of data/dedupe/groups.parquet", gone,
        )  # fmt: skip


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
