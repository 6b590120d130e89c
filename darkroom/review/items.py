"""What there is to review: copies, labels apart, leaks, conflicts, close calls, rejected images.

Grows with the tables alone: they are held in memory once, and a page of items is a slice of them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core import shards, tables
from darkroom.core.params.scale import Scale
from darkroom.core.params.whole import Params
from darkroom.core.tables import null_to_none
from darkroom.dedupe.statuses import is_labelled_apart
from darkroom.images.previews import Place, Previews
from darkroom.labels.decisions import Decision, Subject
from darkroom.labels.labelled import is_rated
from darkroom.labels.votes import mean_of_votes

RAW = Path("data/raw")
INDEX = RAW / "index.parquet"
SUMMARY = Path("data/clean/summary.parquet")
PAIRS = Path("data/dedupe/pairs.parquet")
GROUPS = Path("data/dedupe/groups.parquet")
RECORDS = Path("data/dedupe/records.parquet")

EVIDENCE = [
    "similarity", "normalised", "agreement", "ssim", "mse", "inliers", "duplicate", "decided_by",
]  # fmt: skip
KINDS = ("copies", "apart", "candidates", "leaks", "conflicts", "rejected", "decided")
PAIRS_OF_TWO = ("candidates", "apart")  # two equal images, none of which stands for the other
MAX_IMAGES = 24  # of one item on a page; the rest comes when asked for
MAX_RECORDS = 12
MAX_LABELS = 500  # that are offered while typing

# Only for the order in which pairs are shown. The scale of each sign of being a copy: where it
# says neither yes nor no, and the distance from there at which it is sure.
AGREEMENT = (0.75, 0.25)
SSIM = (0.7, 0.3)
INLIERS = (np.log2(11), 3.5)  # of log2(1 + inliers): 10 say neither, above 120 is sure
NORMALISED_SPAN = 0.25
BORDERLINE = 0.5  # mean of the three signs, in [-1, 1]; beyond this no person is needed …
MIN_PAIRS = 50  # … though so many are shown where there are any: a look at them is reassuring


class Item(NamedTuple):
    """One thing to decide on: a group (representative first), a pair, or a single image."""

    kind: str
    keys: tuple[str, ...]

    @property
    def id(self) -> str:
        """Return the name by which the page asks for it."""
        return f"{self.kind}:{'-'.join(self.keys[:2])}"


Rows = Mapping[Subject, Decision]


def certainty(pairs: pd.DataFrame, threshold: float) -> NDArray[np.float64]:
    """Return for each pair, in [-1, 1], how surely it is a copy (1) or none (-1); 0 is open.

    The mean of what the network says (`normalised`), what detail says (`agreement`), and the
    stronger of matching places (`inliers`) and whole picture (`ssim`).
    """
    network = (pairs["normalised"] - threshold) / NORMALISED_SPAN
    detail = (pairs["agreement"] - AGREEMENT[0]) / AGREEMENT[1]
    places = (np.log2(1 + pairs["inliers"]) - INLIERS[0]) / INLIERS[1]
    whole = (pairs["ssim"] - SSIM[0]) / SSIM[1]
    signs = (network, detail, np.maximum(places, whole))
    clipped = [np.clip(np.nan_to_num(np.asarray(s, np.float64), nan=-1.0), -1, 1) for s in signs]
    return np.asarray(np.mean(clipped, axis=0))


def is_settled(item: Item, rows: Rows, broken: Collection[str] = ()) -> bool:
    """Return whether nothing is left to decide; of `broken` images there is nothing to keep."""
    first, others = item.keys[0], item.keys[1:]

    def is_decided(key: str) -> bool:
        return Subject(key, "", "status") in rows

    if item.kind == "rejected":
        return is_decided(first) or first in broken
    if item.kind == "conflicts":
        return any(Subject(first, "", about) in rows for about in ("label", "mean", "status"))
    if not others:
        return is_decided(first) or item.kind == "decided"
    if item.kind in PAIRS_OF_TWO and is_decided(first):
        return True
    return all(is_decided(key) or pair_of(first, key) in rows for key in others)


def pair_of(a: str, b: str) -> Subject:
    """Return the subject of a pair, in whichever order it is named."""
    return Subject(min(a, b), max(a, b), "pair")


class ReviewItems:
    """All items by kind, most doubtful first, and everything that the page says of an image."""

    def __init__(self, root: Path, params: Params, rows: Rows) -> None:
        """Read the tables. Raises FileNotFoundError naming what to run first."""
        self.table_times = table_times(root)
        index = tables.read_table(root / INDEX, tables.INDEX)
        self._groups = tables.read_table(root / GROUPS, tables.GROUPS).set_index("key")
        self._pairs = tables.read_table(root / PAIRS, columns=["key_a", "key_b", *EVIDENCE])
        self._pairs = self._pairs.sort_values(["key_a", "key_b"], ignore_index=True)
        self._pairs["certainty"] = certainty(self._pairs, params.dedupe.threshold)
        self._apart = is_labelled_apart(self._groups.reset_index(), self._pairs, params.dedupe)
        self._summary = tables.read_table(root / SUMMARY).set_index("key")
        self._stored = shards.stored(index).set_index("key")
        self._pictures = Previews(root)
        ends = tables.read_table(root / RECORDS, tables.RECORDS)
        ends = ends[["source", "name", "status", "reason"]]
        present = index[(index["status"] == "kept") & index["key"].notna()]
        present = present.drop(columns=["status", "reason"]).merge(ends, on=["source", "name"])
        self._records = present.sort_values(["key", "source", "name"], ignore_index=True)
        self._of_key: dict[str, NDArray[np.int64]] = self._records.groupby("key").indices
        self.labels = sorted(self._groups["label"].dropna().unique())[:MAX_LABELS]
        rated = bool(is_rated(self._groups).any())
        self.rated = not self.labels and (rated or params.train.task == "rating")
        self._scale = params.train.scale
        self._broken = frozenset(self._summary.index[self._summary["blurry_score"].isna()])
        self.by_kind: dict[str, list[Item]] = {kind: [] for kind in KINDS}
        for item in self._list_items():
            self.by_kind[item.kind].append(item)
        self._positions: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for kind, items in self.by_kind.items():
            for position, item in enumerate(items):
                for key in item.keys:
                    self._positions[key].append((kind, position))
        self.settled = {
            kind: {n for n, item in enumerate(items) if is_settled(item, rows, self._broken)}
            for kind, items in self.by_kind.items()
        }
        self.refresh(set(), rows)

    def refresh(self, keys: set[str], rows: Rows) -> None:
        """Note that decisions on these images have changed."""
        for key in keys:
            for kind, position in self._positions.get(key, []):
                settled = is_settled(self.by_kind[kind][position], rows, self._broken)
                (self.settled[kind].add if settled else self.settled[kind].discard)(position)
        subjects = {(s.key, s.other) if s.other else (s.key,) for s in rows}
        self.by_kind["decided"] = [Item("decided", keys) for keys in sorted(subjects)]
        self.settled["decided"] = set(range(len(subjects)))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many items there are of each kind, and how many are decided."""
        return {
            kind: {"total": len(items), "decided": len(self.settled[kind])}
            for kind, items in self.by_kind.items()
        }

    def find(self, kind: str, start: int, step: int, query: str, undecided: bool) -> Iterator[int]:
        """Yield positions of matching items from `start` on, forwards or backwards by `step`."""
        items, settled = self.by_kind[kind], self.settled[kind]
        words = query.lower().split()
        for position in range(start, len(items) if step > 0 else -1, step):
            if not (undecided and position in settled) and self._matches(items[position], words):
                yield position

    def position(self, identity: str) -> tuple[str, int] | None:
        """Return kind and position of an item by its name, None where there is none now."""
        kind, _, keys = identity.partition(":")
        if kind not in self.by_kind:
            return None
        shown = self._positions.get(keys.split("-")[0], [])
        candidates = [n for k, n in shown if k == kind] if kind != "decided" else range(
            len(self.by_kind[kind])
        )  # fmt: skip
        matching = (n for n in candidates if self.by_kind[kind][n].id == identity)
        return next(((kind, n) for n in matching), None)

    def is_known(self, key: str) -> bool:
        """Return whether the bytes of an image are here."""
        return key in self._stored.index

    def place(self, key: str, original: bool) -> Place | None:
        """Return where the picture of an image lies, or its original; None without a picture."""
        place = self._pictures.place(key)
        if place is None or not original:
            return place
        shard, offset, size = self._stored.loc[key]
        return Place(str(RAW), str(shard), int(offset), int(size))

    def decodes(self, key: str) -> bool:
        """Return whether clean could decode an image to its end."""
        return key in self._summary.index and key not in self._broken

    def describe(self, item: Item, rows: Rows, most: int = MAX_IMAGES) -> dict[str, Any]:
        """Return an item as the page shows it, at most so many of its images."""
        keys = item.keys[: max(most, 2)]
        return {
            "id": item.id,
            "kind": item.kind,
            "more": len(item.keys) - len(keys),
            "settled": is_settled(item, rows, self._broken),
            "images": [self._image(key, rows) for key in keys],
            "pairs": [self._pair(keys[0], key, rows) for key in keys[1:]],
        }

    def _list_items(self) -> Iterator[Item]:
        groups, pairs = self._groups, self._pairs
        copies = groups[(groups["status"] == "rejected") & groups["representative"].notna()]
        copies = copies[copies["representative"] != copies.index].reset_index()
        ends = np.sort(copies[["key", "representative"]].to_numpy(object).astype(str), axis=1)
        known = pd.DataFrame(ends.reshape(-1, 2), columns=["key_a", "key_b"]).merge(
            pairs[["key_a", "key_b", "certainty"]], on=["key_a", "key_b"], how="left"
        )
        copies["certainty"] = known["certainty"].fillna(1.0).to_numpy(np.float64)
        copies = copies.sort_values(["certainty", "key"])
        leaks = self._records["reason"].fillna("").str.startswith("leaks_into_")
        leaked = set(self._records.loc[leaks, "key"])
        members = {best: tuple(rows["key"]) for best, rows in copies.groupby("representative")}
        leaking = {str(groups.at[key, "copy_group"]) for key in leaked if key in groups.index}
        for best in copies["representative"].unique():
            if best not in leaking:
                yield Item("copies", (best, *members[best]))
        for best in sorted(leaking):
            yield Item("leaks", (best, *members.get(best, ())))
        distance = pairs["certainty"].abs().sort_values(kind="stable")
        order = distance.index[: max(MIN_PAIRS, int((distance <= BORDERLINE).sum()))]
        for row in pairs.loc[order, ["key_a", "key_b"]].itertuples(index=False):
            yield Item("candidates", (row.key_a, row.key_b))
        apart = pairs[self._apart].sort_values("certainty", ascending=False, kind="stable")
        for row in apart[["key_a", "key_b"]].itertuples(index=False):
            yield Item("apart", (row.key_a, row.key_b))
        for key in groups.index[groups["label_conflict"]]:
            yield Item("conflicts", (key,))
        rejected = self._summary[self._summary["status"] != "kept"]
        rejected = rejected.assign(broken=rejected["blurry_score"].isna())
        for key in rejected.sort_values(["broken", "reason"], kind="stable").index:
            yield Item("rejected", (key,))

    def _matches(self, item: Item, words: list[str]) -> bool:
        return not words or any(
            all(word in self._texts.get(key, key) for word in words) for key in item.keys
        )

    @cached_property
    def _texts(self) -> dict[str, str]:
        """Return what a search looks at, by key; made at the first search."""
        texts: dict[str, str] = {}
        records = self._records[["key", "source", "name", "label", "status", "reason"]]
        for key, *parts in records.itertuples(index=False):
            words = " ".join(part for part in parts if isinstance(part, str))
            texts[key] = f"{texts.get(key, key)} {words.lower()}"
        return texts

    def _status_and_reason(self, key: str) -> tuple[str | None, str | None]:
        """Return status and reason after clean and dedupe."""
        for table in (self._groups, self._summary):
            if key in table.index:
                return null_to_none(table.at[key, "status"]), null_to_none(table.at[key, "reason"])
        return None, None

    def _image(self, key: str, rows: Rows) -> dict[str, Any]:
        at = self._of_key.get(key, np.zeros(0, np.int64))
        records = [
            {
                **{n: null_to_none(row[n]) for n in ("source", "name", "status", "reason")},
                "split": null_to_none(row["official_split"]),
                "label": _label(row, self._scale),
            }
            for _, row in self._records.iloc[at[:MAX_RECORDS]].iterrows()
        ]
        status, reason = self._status_and_reason(key)
        decision, label, mean = (rows.get(Subject(key, "", a)) for a in ("status", "label", "mean"))
        decided = mean or label
        image: dict[str, Any] = {
            "key": key, "known": self.is_known(key), "status": status, "reason": reason,
            "decodes": self.decodes(key), "records": records, "count": len(at),
            "decision": decision and decision.decision, "decided_label": decided and decided.value,
        }  # fmt: skip
        if key in self._summary.index:
            measured = self._summary.loc[key]
            measures = ("width", "height", "format", "bytes")
            image |= {name: null_to_none(measured[name]) for name in measures}
            flags = [name for name in measured.index if name.startswith("is_")]
            image["flags"] = [name[3:] for name in flags if null_to_none(measured[name])]
        if key in self._groups.index:
            group = self._groups.loc[key]
            split = null_to_none(group["official_split"])
            image |= {"label": _label(group, self._scale), "split": split}
        return image

    def _pair(self, a: str, b: str, rows: Rows) -> dict[str, Any]:
        subject = pair_of(a, b)
        decision = rows.get(subject)
        description: dict[str, Any] = {"a": a, "b": b, "decision": decision and decision.decision}
        first = self._pairs["key_a"].to_numpy(object)
        low, high = (int(np.searchsorted(first, subject.key, side)) for side in ("left", "right"))
        second = self._pairs["key_b"].to_numpy(object)[low:high]
        at = low + int(np.searchsorted(second, subject.other))
        if at < high and self._pairs.at[at, "key_b"] == subject.other:
            description |= {name: null_to_none(self._pairs.at[at, name]) for name in EVIDENCE}
        return description


def table_times(root: Path) -> tuple[int, ...]:
    """Return what changes when a stage writes the tables; empty while one is being made."""
    try:
        paths = [root / path for path in (INDEX, SUMMARY, PAIRS, GROUPS, RECORDS)]
        return tuple(path.stat().st_mtime_ns for path in paths)
    except FileNotFoundError:
        return ()


def _label(row: pd.Series, scale: Scale) -> str | None:
    """Return the label of a record or key as people write it; for ratings the mean, then more."""
    if isinstance(row["label"], str):
        return row["label"]
    votes = row["ratings"]
    if null_to_none(row["mean"]) is not None:
        spread = "" if null_to_none(row["std"]) is None else f" ± {row['std']:.2f}"
        return f"{row['mean']:.4g}{spread}"
    if isinstance(votes, np.ndarray) and votes.any():
        scores = np.linspace(scale.low, scale.high, len(votes))
        return f"{mean_of_votes(votes, scores):.2f} from {votes.sum()} votes"
    return None
