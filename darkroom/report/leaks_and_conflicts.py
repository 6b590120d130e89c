"""Where splits and labels that the sources gave contradict each other, shown side by side.

Also the closest calls of dedupe. Each sheet shows a few groups, the same ones every time.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from darkroom.labels.official_splits import SPLITS, standard_split
from darkroom.report.params import ReportParams
from darkroom.report.thumbnails import COPIES, Album, Frame, Group, similarities

LEAKS, CONFLICTS, OTHERWISE, TORN, CALLS = 12, 8, 8, 6, 6  # groups or pairs shown of each kind
_LEAK = "leaks_into_"
_FILE = ["source", "name", "key"]

Likeness = Mapping[frozenset[str], float]


class Sheet(NamedTuple):
    """Some groups, and how many there are in all."""

    groups: list[Group]
    total: int


class Way(NamedTuple):
    """How many files leak from one official split into a stronger one."""

    source: str
    target: str
    files: int


def describe(
    album: Album,
    index: pd.DataFrame,
    records: pd.DataFrame,
    groups: pd.DataFrame,
    pairs: pd.DataFrame,
    split: pd.DataFrame,
    params: ReportParams,
) -> dict[str, Any]:
    """Return what the page shows of leaks, torn families, conflicts and close calls."""
    files = describe_files(index, records, params)
    alike = similarities(pairs)
    leaks = files[files["reason"].fillna("").str.startswith(_LEAK)]
    return {
        "has_official": bool(files["split"].notna().any()),
        "ways": ways(leaks),
        "leaks": leak_sheet(album, files, leaks, alike),
        "torn": torn_sheet(album, files, groups, split),
        "conflicts": conflict_sheet(album, files, groups),
        "otherwise": otherwise_sheet(album, files, groups, alike),
        "accepted": call_sheet(album, files, pairs, True),
        "refused": call_sheet(album, files, pairs, False),
    }


def describe_files(
    index: pd.DataFrame, records: pd.DataFrame, params: ReportParams
) -> pd.DataFrame:
    """Return RECORDS that arrived, with `split` (standard name or null) and `told`, their label."""
    arrived = records[records["key"].notna() & (records["status"] != "withdrawn")]
    columns = ["label", "mean", "ratings", "official_split"]
    files = arrived.merge(index.loc[index["status"] == "kept", _FILE + columns], on=_FILE)
    respected = params.split.official == "respect"
    files["split"] = [
        standard_split(name, params.split.map) if respected and isinstance(name, str) else None
        for name in files["official_split"]
    ]
    labels = zip(files["label"], files["mean"], files["ratings"], strict=True)
    files["told"] = [_told(label, mean, votes) for label, mean, votes in labels]
    return files.sort_values(["source", "name"], ignore_index=True)


def _told(label: Any, mean: Any, votes: Any) -> str:
    if isinstance(label, str):
        return label
    if not pd.isna(mean):
        return f"mean {mean:.2f}"
    return f"votes {' '.join(map(str, votes))}" if isinstance(votes, np.ndarray) else "no label"


def ways(leaks: pd.DataFrame) -> list[Way]:
    """Return every way in which files can leak, with their number."""
    into = leaks["reason"].str.removeprefix(_LEAK)
    return [
        Way(weak, strong, int(((leaks["split"] == weak) & (into == strong)).sum()))
        for weak, strong in combinations(SPLITS, 2)
    ]


def leak_sheet(album: Album, files: pd.DataFrame, leaks: pd.DataFrame, alike: Likeness) -> Sheet:
    """Return each image that stays beside the files that leak into its split, edited ones first."""
    edited = leaks.assign(edited=leaks["key"] != leaks["representative"], size=1)
    sizes = edited.groupby("representative")[["edited", "size"]].sum().reset_index()
    ascending = [False, False, True]
    sizes = sizes.sort_values(["edited", "size", "representative"], ascending=ascending)
    shown = list(sizes["representative"].head(LEAKS))
    first = _first(files, shown)
    found = []
    for best in shown:
        rows = leaks[leaks["representative"] == best]
        frames = [
            _frame(album, row, f"{row.split} → {row.reason.removeprefix(_LEAK)}",
                   row.told, _likeness(best, row.key, alike))
            for row in rows.head(COPIES).itertuples()
        ]  # fmt: skip
        kept = _frame(album, first[best], f"kept in {first[best].split}", first[best].told)
        found.append(_group([kept, *frames], 1 + len(rows)))
    return Sheet(found, len(sizes))


def torn_sheet(
    album: Album, files: pd.DataFrame, groups: pd.DataFrame, split: pd.DataFrame
) -> Sheet:
    """Return families whose images lie in several splits, since the sources say so."""
    members = groups[["key", "family"]].merge(split[["key", "split"]], on="key")
    sides = members.groupby("family")["split"].nunique()
    torn = sorted(sides[sides > 1].index)
    found = []
    for family in torn[:TORN]:
        rows = members[members["family"] == family]
        shown = _in_turn(rows, "split").head(1 + COPIES)
        first = _first(files, shown["key"])
        frames = [
            _frame(album, first[row.key], row.split, first[row.key].told)
            for row in shown.itertuples()
        ]
        found.append(_group(frames, len(rows)))
    return Sheet(found, len(torn))


def conflict_sheet(album: Album, files: pd.DataFrame, groups: pd.DataFrame) -> Sheet:
    """Return images that came several times with different labels, a frame for each time."""
    keys = groups.loc[groups["label_conflict"].fillna(False).astype(bool), "key"]
    rows = files[files["key"].isin(keys)]
    sizes = rows["key"].value_counts()
    order = sorted(sizes.index, key=lambda key: (-int(sizes[key]), key))
    found = []
    for key in order[:CONFLICTS]:
        same = rows[rows["key"] == key]
        shown = _in_turn(same, "told").head(1 + COPIES)
        frames = [_frame(album, row, row.told, row.split) for row in shown.itertuples()]
        found.append(_group(frames, len(same)))
    return Sheet(found, len(order))


def otherwise_sheet(
    album: Album, files: pd.DataFrame, groups: pd.DataFrame, alike: Likeness
) -> Sheet:
    """Return images beside their copies that have another label."""
    labels = groups.set_index("key")["label"]
    copies = groups[groups["representative"].notna() & groups["label"].notna()]
    of_best = copies["representative"].map(labels)
    copies = copies[of_best.notna() & (of_best != copies["label"])]
    order = sorted(copies["representative"].unique())
    found = []
    for best in order[:OTHERWISE]:
        keys = list(copies.loc[copies["representative"] == best, "key"])
        first = _first(files, [best, *keys])
        frames = [
            _frame(album, first[key], str(labels[key]), first[key].split,
                   "kept" if key == best else _likeness(best, key, alike))
            for key in [best, *keys[:COPIES]]
        ]  # fmt: skip
        found.append(_group(frames, 1 + len(keys)))
    return Sheet(found, len(order))


def call_sheet(album: Album, files: pd.DataFrame, pairs: pd.DataFrame, copies: bool) -> Sheet:
    """Return the pairs called copies that are least alike, or the most alike of the others."""
    rows = pairs[pairs["duplicate"].fillna(False).astype(bool) == copies]
    order = ["normalised", "key_a", "key_b"]
    shown = rows.sort_values(order, ascending=[copies, True, True]).head(CALLS)
    first = _first(files, [*shown["key_a"], *shown["key_b"]])
    found = []
    for pair in shown.itertuples():
        captions = (f"normalised {pair.normalised:.3f}", _words(pair.decided_by))
        frames = [
            _frame(album, first[key], caption, first[key].told, first[key].split)
            for key, caption in zip((pair.key_a, pair.key_b), captions, strict=True)
        ]
        found.append(_group(frames, 2))
    return Sheet(found, len(rows))


def _first(files: pd.DataFrame, keys: Iterable[str]) -> dict[str, Any]:
    """Return a row of `files` per key: the one that was kept, else the first by name."""
    rows = files[files["key"].isin(set(keys))].sort_values("status", kind="stable")
    return {row.key: row for row in rows.drop_duplicates("key").itertuples()}


def _in_turn(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows so that every value of a column is among the first."""
    turn = rows.groupby(column).cumcount()
    return rows.assign(turn=turn).sort_values(["turn", column], kind="stable")


def _frame(album: Album, row: Any, caption: str, *details: str | None) -> Frame:
    detail = ", ".join(part for part in details if part)
    return Frame(album.thumbnail(row.key), str(row.name), caption, detail)


def _likeness(a: str, b: str, alike: Likeness) -> str:
    if a == b:
        return "identical"
    likeness = alike.get(frozenset((a, b)))
    return "through another copy" if likeness is None else f"cosine {likeness:.3f}"


def _words(decided_by: Any) -> str:
    """Return what decided a pair, as people read it."""
    words = {"none": "nothing agrees", "scene": "same scene", "whole": "agrees as a whole"}
    return words.get(decided_by, f"by {decided_by}")


def _group(frames: Sequence[Frame], total: int) -> Group:
    return Group(frames[0], tuple(frames[1:]), total - len(frames))
