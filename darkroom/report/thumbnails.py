"""Sheets of thumbnails: a few images of each kind, chosen the same way every time."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from darkroom.report.formatting import words
from darkroom.report.image_store import ImageStore

REJECTED, GROUPS, COPIES, PARENTS, VARIANTS = 24, 12, 5, 12, 3  # how many of each are shown

Similarities = Mapping[frozenset[str], float]  # cosine of two keys' embeddings


class Thumbnail(NamedTuple):
    """One image on a sheet: its picture (None where it does not decode) and what is said of it."""

    picture: str | None  # a data: URI
    title: str
    caption: str
    detail: str = ""


class ThumbnailGroup(NamedTuple):
    """A representative or parent first, then its copies or variants, and how many are not shown."""

    first: Thumbnail
    others: tuple[Thumbnail, ...]
    more: int


def list_rejected(
    index: pd.DataFrame, summary: pd.DataFrame, groups: pd.DataFrame, names: Mapping[str, str]
) -> pd.DataFrame:
    """Return `key`, `reason`, `title`, `stage` of all that failed or was rejected, but copies."""
    failed = index[index["status"] == "failed"]
    unusable = summary[(summary["status"] != "kept") & summary["key"].isin(names)]
    conflicts = groups[(groups["status"] == "rejected") & (groups["reason"] == "label_conflict")]
    columns = ["key", "reason", "title", "stage"]
    rows = pd.concat([
        failed.assign(title=failed["name"], stage="download")[columns],
        unusable.assign(title=unusable["key"].map(names), stage="clean")[columns],
        conflicts.assign(title=conflicts["key"].map(names), stage="dedupe")[columns],
    ])  # fmt: skip
    return rows.sort_values(["stage", "reason", "title"], ignore_index=True)


def rejected_thumbnails(store: ImageStore, rejected: pd.DataFrame) -> list[Thumbnail]:
    """Return some of `list_rejected`, every reason in turn."""
    turn = rejected.groupby("reason", dropna=False).cumcount()
    chosen = rejected.assign(turn=turn).sort_values(["turn"], kind="stable")
    return [
        Thumbnail(
            store.thumbnail(row.key), str(row.title), _reason(row.reason), f"by {row.stage}"
        )
        for row in chosen.head(REJECTED).sort_index().itertuples()
    ]  # fmt: skip


def list_copies(groups: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of copies: those that another image represents."""
    copies = groups[groups["representative"].notna() & (groups["status"] == "rejected")]
    return copies[copies["representative"] != copies["key"]]


def duplicate_groups(
    store: ImageStore, groups: pd.DataFrame, names: Mapping[str, str], similarities: Similarities
) -> list[ThumbnailGroup]:
    """Return the largest groups of copies: the representative, then its copies by similarity."""
    copies = list_copies(groups)
    sizes = copies["representative"].value_counts()
    order = sorted(sizes.index, key=lambda key: (-int(sizes[key]), key))[:GROUPS]
    records = groups.set_index("key")["records"].to_dict()
    sheets = []
    for best in order:
        members = [
            (-similarities.get(frozenset((best, row.key)), 0.0), row.key, row.reason)
            for row in copies[copies["representative"] == best].itertuples()
        ]
        others = tuple(
            Thumbnail(
                store.thumbnail(key), names.get(key, key), similarity_text(best, key, similarities),
                _identical_files(records.get(key, 1), "" if reason == "copy" else _reason(reason)),
            )
            for _, key, reason in sorted(members)[:COPIES]
        )  # fmt: skip
        first = Thumbnail(store.thumbnail(best), names.get(best, best), "kept",
                          _identical_files(records.get(best, 1), ""))  # fmt: skip
        sheets.append(ThumbnailGroup(first, others, len(members) - len(others)))
    return sheets


def augmented_images(
    store: ImageStore, new: ImageStore, augmented: pd.DataFrame, names: Mapping[str, str]
) -> list[ThumbnailGroup]:
    """Return parents, evenly over their keys, each beside its first variants."""
    parents = sorted(augmented["parent"].unique())
    shown = min(PARENTS, len(parents))
    sheets = []
    for parent in [parents[number * len(parents) // shown] for number in range(shown)]:
        rows = augmented[augmented["parent"] == parent].sort_values("variant")
        some = rows.head(VARIANTS).itertuples()
        variants = tuple(_variant(new, row.key, row.operations) for row in some)
        first = Thumbnail(store.thumbnail(parent), names.get(parent, parent), "original")
        sheets.append(ThumbnailGroup(first, variants, len(rows) - len(variants)))
    return sheets


def first_records(index: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return the first source and name under which each key arrived."""
    arrived = index[(index["status"] == "kept") & index["key"].notna()]
    arrived = arrived.sort_values(["source", "name"]).drop_duplicates("key")
    pairs = zip(arrived["source"], arrived["name"], strict=True)
    return dict(zip(arrived["key"], pairs, strict=True))


def pair_similarities(pairs: pd.DataFrame) -> Similarities:
    """Return the similarity of each pair of keys, in whichever order it is asked for."""
    rows = pairs.loc[pairs["similarity"].notna(), ["key_a", "key_b", "similarity"]]
    return {frozenset((a, b)): float(cosine) for a, b, cosine in rows.itertuples(index=False)}


def similarity_text(a: str, b: str, similarities: Similarities) -> str:
    """Return what is said below a copy; it may be joined to its representative by another one."""
    if a == b:
        return "identical"
    similarity = similarities.get(frozenset((a, b)))
    return "through another copy" if similarity is None else f"cosine {similarity:.3f}"


def _variant(store: ImageStore, key: str, operations: str) -> Thumbnail:
    """Return one image and the chain of operations, JSON of augment's, that made it."""
    try:
        steps = json.loads(operations)
    except ValueError:  # shown as it stands
        return Thumbnail(store.thumbnail(key), "", operations)
    values = [(name, value) for step in steps for name, value in step.items() if name != "name"]
    parameters = [f"{words(name)} {round(value, 2) if isinstance(value, float) else value}"
                  for name, value in values]  # fmt: skip
    names = [words(step["name"]) for step in steps]
    return Thumbnail(store.thumbnail(key), ", ".join(parameters), ", ".join(names))


def _identical_files(records: Any, reason: str) -> str:
    same = f"{int(records)} identical files" if records > 1 else ""
    return ", ".join(part for part in (reason, same) if part)


def _reason(reason: Any) -> str:
    return words(reason) if isinstance(reason, str) else "no reason given"
