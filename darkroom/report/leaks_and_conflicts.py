"""Where splits and labels that the sources gave contradict each other, shown side by side.

Also the borderline pairs of dedupe. Of each kind a few groups are shown, the same every time.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from darkroom.labels.official_splits import SPLITS, standard_split
from darkroom.report.image_store import ImageStore
from darkroom.report.params import ReportParams
from darkroom.report.thumbnails import (
    COPIES,
    Similarities,
    Thumbnail,
    ThumbnailGroup,
    similarity_text,
)

LEAKS, CONFLICTS, OTHER_LABELS, FAMILIES, PAIRS = 12, 8, 8, 6, 6  # groups shown of each kind
DECISIONS = {
    "none": "nothing agrees",
    "scene": "same scene",
    "difference": "alike, but with a difference",
    "whole": "agrees as a whole",
    "matches": "matching places agree",
    "covered": "agrees where nothing covers it",
}
_LEAK = "leaks_into_"
_FILE = ["source", "name", "key"]


class Excerpt(NamedTuple):
    """Some groups, and how many there are in all."""

    groups: list[ThumbnailGroup]
    total: int


def describe(
    store: ImageStore, index: pd.DataFrame, records: pd.DataFrame, groups: pd.DataFrame,
    pairs: pd.DataFrame, split: pd.DataFrame, similarities: Similarities, params: ReportParams,
) -> dict[str, Any]:  # fmt: skip
    """Return what the page shows of leaks, split families, conflicts and borderline pairs."""
    files = describe_files(index, records, params)
    leaks = files[files["reason"].fillna("").str.startswith(_LEAK)]
    return {
        "has_official": bool(files["split"].notna().any()),
        "leak_counts": count_leaks(leaks),
        "leaks": find_leaks(store, files, leaks, similarities),
        "split_families": find_split_families(store, files, groups, split),
        "conflicts": find_conflicts(store, files, groups),
        "other_labels": find_other_labels(store, files, groups, similarities),
        "borderline_duplicates": find_borderline(store, files, pairs, True),
        "borderline_others": find_borderline(store, files, pairs, False),
    }


def describe_files(
    index: pd.DataFrame, records: pd.DataFrame, params: ReportParams
) -> pd.DataFrame:
    """Return RECORDS that arrived, with `split` (standard name or null) and `label_text`."""
    arrived = records[records["key"].notna() & (records["status"] != "withdrawn")]
    columns = ["label", "mean", "ratings", "official_split"]
    files = arrived.merge(index.loc[index["status"] == "kept", _FILE + columns], on=_FILE)
    respected = params.split.official == "respect"
    files["split"] = [
        standard_split(name, params.split.map) if respected and isinstance(name, str) else None
        for name in files["official_split"]
    ]
    labels = zip(files["label"], files["mean"], files["ratings"], strict=True)
    files["label_text"] = [_label_text(label, mean, votes) for label, mean, votes in labels]
    return files.sort_values(["source", "name"], ignore_index=True)


def _label_text(label: Any, mean: Any, votes: Any) -> str:
    if isinstance(label, str):
        return label
    if not pd.isna(mean):
        return f"mean {mean:.2f}"
    return f"votes {' '.join(map(str, votes))}" if isinstance(votes, np.ndarray) else "no label"


def count_leaks(leaks: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Return how many files leak, for every two splits between which they can."""
    into = leaks["reason"].str.removeprefix(_LEAK)
    return [
        (weak, strong, int(((leaks["split"] == weak) & (into == strong)).sum()))
        for weak, strong in combinations(SPLITS, 2)
    ]


def find_leaks(
    store: ImageStore, files: pd.DataFrame, leaks: pd.DataFrame, similarities: Similarities
) -> Excerpt:
    """Return each image that stays beside the files that leak into its split, edited ones first."""
    edited = leaks.assign(edited=leaks["key"] != leaks["representative"], size=1)
    sizes = edited.groupby("representative")[["edited", "size"]].sum()
    # stable: by key where these are equal
    order = sizes.sort_values(["edited", "size"], ascending=False, kind="stable").index
    first = _first(files, order[:LEAKS])
    excerpt = []
    for best in order[:LEAKS]:
        rows = leaks[leaks["representative"] == best]
        kept = (first[best], f"kept in {first[best].split}", first[best].label_text)
        images = [
            (row, f"{row.split} → {row.reason.removeprefix(_LEAK)}", row.label_text,
             similarity_text(best, row.key, similarities))
            for row in rows.head(COPIES).itertuples()
        ]  # fmt: skip
        excerpt.append(_group(store, [kept, *images], 1 + len(rows)))
    return Excerpt(excerpt, len(order))


def find_split_families(
    store: ImageStore, files: pd.DataFrame, groups: pd.DataFrame, split: pd.DataFrame
) -> Excerpt:
    """Return families whose images lie in several splits, since the sources say so."""
    members = groups[["key", "family"]].merge(split[["key", "split"]], on="key")
    splits = members.groupby("family")["split"].nunique()
    families = sorted(splits[splits > 1].index)
    excerpt = []
    for family in families[:FAMILIES]:
        rows = members[members["family"] == family]
        shown = _round_robin(rows, "split").head(1 + COPIES)
        first = _first(files, shown["key"])
        images = [(first[row.key], row.split, first[row.key].label_text)
                  for row in shown.itertuples()]  # fmt: skip
        excerpt.append(_group(store, images, len(rows)))
    return Excerpt(excerpt, len(families))


def find_conflicts(store: ImageStore, files: pd.DataFrame, groups: pd.DataFrame) -> Excerpt:
    """Return images that came several times with different labels, a thumbnail for each time."""
    keys = groups.loc[groups["label_conflict"].fillna(False).astype(bool), "key"]
    rows = files[files["key"].isin(keys)]
    sizes = rows["key"].value_counts()
    order = sorted(sizes.index, key=lambda key: (-int(sizes[key]), key))
    excerpt = []
    for key in order[:CONFLICTS]:
        same = rows[rows["key"] == key]
        shown = _round_robin(same, "label_text").head(1 + COPIES).itertuples()
        images = [(row, row.label_text, row.split) for row in shown]
        excerpt.append(_group(store, images, len(same)))
    return Excerpt(excerpt, len(order))


def find_other_labels(
    store: ImageStore, files: pd.DataFrame, groups: pd.DataFrame, similarities: Similarities
) -> Excerpt:
    """Return images beside their copies that have another label."""
    labels = groups.set_index("key")["label"]
    copies = groups[groups["representative"].notna() & groups["label"].notna()]
    of_best = copies["representative"].map(labels)
    copies = copies[of_best.notna() & (of_best != copies["label"])]
    order = sorted(copies["representative"].unique())
    excerpt = []
    for best in order[:OTHER_LABELS]:
        keys = list(copies.loc[copies["representative"] == best, "key"])
        first = _first(files, [best, *keys])
        images = [
            (first[key], str(labels[key]), first[key].split,
             "kept" if key == best else similarity_text(best, key, similarities))
            for key in [best, *keys[:COPIES]]
        ]  # fmt: skip
        excerpt.append(_group(store, images, 1 + len(keys)))
    return Excerpt(excerpt, len(order))


def find_borderline(
    store: ImageStore, files: pd.DataFrame, pairs: pd.DataFrame, duplicate: bool
) -> Excerpt:
    """Return the least similar pairs of duplicates, or the most similar ones of the others."""
    rows = pairs[pairs["duplicate"].fillna(False).astype(bool) == duplicate]
    order = ["normalised", "key_a", "key_b"]
    shown = rows.sort_values(order, ascending=[duplicate, True, True]).head(PAIRS)
    first = _first(files, [*shown["key_a"], *shown["key_b"]])
    excerpt = []
    for pair in shown.itertuples():
        a, b = first[pair.key_a], first[pair.key_b]
        decided = DECISIONS.get(pair.decided_by, f"by {pair.decided_by}")
        images = [(a, f"normalised {pair.normalised:.3f}", a.label_text, a.split),
                  (b, decided, b.label_text, b.split)]  # fmt: skip
        excerpt.append(_group(store, images, 2))
    return Excerpt(excerpt, len(rows))


def _first(files: pd.DataFrame, keys: Iterable[str]) -> dict[str, Any]:
    """Return a row of `files` per key: the one that was kept, else the first by name."""
    rows = files[files["key"].isin(set(keys))].sort_values("status", kind="stable")
    return {row.key: row for row in rows.drop_duplicates("key").itertuples()}


def _round_robin(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows so that every value of a column is among the first."""
    turn = rows.groupby(column).cumcount()
    return rows.assign(turn=turn).sort_values(["turn", column], kind="stable")


def _group(store: ImageStore, images: Sequence[tuple[Any, ...]], total: int) -> ThumbnailGroup:
    """Return (row of files, caption, details …) as thumbnails, of `total` in all."""
    first, *others = (
        Thumbnail(
            store.thumbnail(row.key), str(row.name), caption, ", ".join(filter(None, details))
        )
        for row, caption, *details in images
    )
    return ThumbnailGroup(first, tuple(others), total - len(images))
