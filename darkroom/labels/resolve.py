"""Labels of a key, resolved over its records: equal ones stay, unequal ones are a conflict."""

import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import pandas as pd

from darkroom.core import tables
from darkroom.core.files import MetricTree
from darkroom.core.graphs import connected_components
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.params.split import SplitParams
from darkroom.core.tables import null_to_none
from darkroom.labels.decisions import Decisions
from darkroom.labels.labelled import is_rated
from darkroom.labels.official_splits import standard_split, strength

logger = logging.getLogger(__name__)

SMALL_CLASS = "small_class"  # why an image goes: the user leaves such classes out


def resolve_records(
    index: pd.DataFrame, dedupe: DedupeParams, split: SplitParams, decisions: Decisions
) -> pd.DataFrame:
    """Return one row per key of a kept record: its labels, `status` and `reason`.

    `official_split` is the strongest one of its records; `source_group` is the component of groups
    that share a key, so that no group is torn by an exact duplicate. A key whose labels conflict
    is `rejected` with the reason `label_conflict`, unless a majority or a person settled them: a
    label or mean decided by hand replaces what the records say, and a kept key stays unlabelled.
    """
    records = index[(index["status"] == "kept") & index["key"].notna()]
    records = records.assign(official_split=standard_splits(records["official_split"], split))
    by_key: defaultdict[str, list[_Record]] = defaultdict(list)  # a data frame each takes 2 ms
    columns = ["key", *tables.LABEL_COLUMNS]
    for key, *labels in tables.rows(records, columns):
        by_key[key].append(_Record(*labels))
    groups = _joined_groups(by_key.values())
    rows = [
        {"key": key, **_resolve(key, by_key[key], dedupe.label_conflict, groups, decisions)}
        for key in sorted(by_key)
    ]
    columns = ["key", "status", "reason", *tables.LABEL_COLUMNS, "records", "label_conflict"]
    return pd.DataFrame(rows, columns=columns)


class _Record(NamedTuple):
    """What one record says of its key, in the order of `tables.LABEL_COLUMNS`."""

    label: str | None
    ratings: Any
    mean: float | None
    std: float | None
    source_group: str | None
    official_split: str | None


def _resolve(
    key: str,
    records: list[_Record],
    rule: str,
    groups: dict[str, str],
    decisions: Decisions,
) -> dict[str, Any]:
    label, differs = agree([row.label for row in records], rule)
    rating, unequal = agree([rating_of(row.ratings, row.mean, row.std) for row in records], rule)
    if key in decisions.label:
        label, differs = decisions.label[key], False
    if key in decisions.mean:
        rating, unequal = (None, decisions.mean[key], None), False
    ratings, mean, std = rating or (None, None, None)
    lost = (differs and label is None) or (unequal and rating is None)
    lost = lost and key not in decisions.keep
    group = next((groups[row.source_group] for row in records if row.source_group), None)
    return {
        "status": "rejected" if lost else "kept",
        "reason": "label_conflict" if lost else None,
        "label": label,
        "ratings": list(ratings) if ratings else None,
        "mean": mean,
        "std": std,
        "source_group": group,
        "official_split": max((row.official_split for row in records), key=strength),
        "records": len(records),
        "label_conflict": differs or unequal,
    }


def agree(values: Iterable[Hashable], conflict: str) -> tuple[Any, bool]:
    """Return (value, whether there was a conflict) over the records of one key.

    None never conflicts. With `majority` the commonest value wins, unless two are equally common;
    otherwise a conflict gives None.
    """
    given = [value for value in values if value is not None]
    if len(set(given)) <= 1:
        return (given[0] if given else None), False
    first, second = Counter(given).most_common(2)
    if conflict == "majority" and first[1] > second[1]:
        return first[0], True
    return None, True


def rating_of(ratings: Any, mean: Any, std: Any) -> tuple[Any, Any, Any] | None:
    """Return a hashable rating, None when the record has none; no votes at all are no rating."""
    counts = tuple(null_to_none(ratings) or ())
    values = (counts if any(counts) else None, null_to_none(mean), null_to_none(std))
    return None if values == (None, None, None) else values


def standard_splits(names: pd.Series, split: SplitParams) -> list[str | None]:
    """Return official splits by their standard names; None for none, or where they are ignored."""
    if split.official == "ignore":
        return [None] * len(names)
    named = [name for name in names.unique() if null_to_none(name)]
    known = {name: standard_split(name, split.map) for name in named}
    return [known.get(name) for name in names]


def _joined_groups(by_key: Iterable[list[_Record]]) -> dict[str, str]:
    named = [sorted({row.source_group for row in rows if row.source_group}) for rows in by_key]
    links = [(names[0], other) for names in named for other in names[1:]]
    return connected_components(sorted({name for names in named for name in names}), links)


def leave_out_small_classes(groups: pd.DataFrame, dedupe: DedupeParams) -> None:
    """Reject in GROUPS the kept images of small classes, with their copies, if the user says so."""
    if dedupe.small_classes == "keep":
        return
    kept = groups[groups["status"] == "kept"]
    small = kept["label"].map(kept["label"].value_counts()) < dedupe.min_class_images
    gone = kept.loc[small, "key"]
    lost = groups["key"].isin(gone) | groups["representative"].isin(gone)
    groups.loc[lost, ["status", "reason", "representative"]] = "rejected", SMALL_CLASS, None


def check_labels(groups: pd.DataFrame, min_class_images: int) -> MetricTree:
    """Count, among the kept images, classes with few of them and images left without a label.

    Each finding is a log line that says what to do; nothing is rejected. `without_label` counts in
    a data set that has classes, `without_votes` in one that has ratings.
    """
    kept = groups[groups["status"] == "kept"]
    sizes = kept["label"].value_counts().sort_index()
    small = sizes[sizes < min_class_images].sort_values(kind="stable")
    if len(small):
        logger.warning(
            "dedupe: %d of %d classes have fewer than dedupe.min_class_images: %d images (%s); add"
            " images, merge these classes, or leave them out with dedupe.small_classes: reject: a"
            " split may hold none of them",
            len(small), len(sizes), min_class_images,
            ", ".join(f"{label} {count}" for label, count in small.head(10).items()),
        )  # fmt: skip
    rated = is_rated(kept)
    missing = {
        "without_label": int(kept["label"].isna().sum()) if len(sizes) else 0,
        "without_votes": int((~rated).sum()) if rated.any() else 0,
    }
    for what, remedy in _REMEDIES.items():
        if missing[what]:
            logger.warning("dedupe: %d of %d images %s", missing[what], len(kept), remedy)
    return {"classes": len(sizes), "small_classes": len(small), **missing}


_STAY = "they stay in the data set and are neither trained nor tested on; complete the label table"
_REMEDIES = {
    "without_label": f"have no class, others have: {_STAY}",
    "without_votes": f"have no votes (none given, or all of them zero), others have: {_STAY}",
}
