"""Find copies among the kept images, keep the best of each group, and settle the labels.

Enters: `data/raw` (bytes, labels), `data/clean/summary.parquet`, `data/embeddings`. Leaves
`pairs.parquet`, `groups.parquet`, `records.parquet` in `data/dedupe`, and `metrics/dedupe.json`.

- Candidates are the nearest neighbours with a normalised similarity (`darkroom.dedupe.normalise`)
  of at least `dedupe.candidate_threshold`.
- Every candidate is verified (`darkroom.dedupe.verify`): a pair is a copy when its alignment
  explains the picture; `dedupe.threshold` is the similarity from which weaker evidence does.
- A group holds a representative and the images verified against it: no chains. The best image is
  of the strongest official split (test, validation, train), labelled (a label would go with its
  image), of the highest resolution, of the highest quality scores, and of the smallest key, in
  this order.
- Two copies that were rated apart (both have ratings, and these differ) stay where
  `dedupe.rated_apart` is `keep`: to a model of quality a blurred copy is another example.
- Images of a normalised similarity of `dedupe.family_threshold`, or that share a scene, are one
  family: all stay, and `split` keeps them together.
- A person's word (`data/review.csv`) stands above all of this: pairs called `duplicate` are merged,
  those called `not_duplicate` never share a group (though they stay one family), an image to `keep`
  is nobody's copy, and a `label` or `mean` replaces what the records say.
- Records of one key that disagree on their label are settled as `dedupe.label_conflict` says.
- Classes with fewer than `dedupe.min_class_images` images, and images without a label or votes
  where others have some, are counted and said, not rejected.

Alone: `python -m stages.dedupe`.
"""

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.graphs import connected_components
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.params.embed import EmbedParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.section import StageParams
from darkroom.core.params.split import SplitParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.dedupe.apply_decisions import obey
from darkroom.dedupe.evidence import verify_pairs
from darkroom.dedupe.groups import group_duplicates, unverified_links
from darkroom.dedupe.normalise import load_background
from darkroom.dedupe.search import find_neighbours, score_pairs
from darkroom.labels.decisions import Decisions, read_decisions
from darkroom.labels.labelled import is_rated
from darkroom.labels.official_splits import SPLITS, strength
from darkroom.labels.resolve import check_labels, rating_of, resolve_records, standard_splits

RAW = Path("data/raw")
SUMMARY = Path("data/clean/summary.parquet")
EMBEDDINGS = Path("data/embeddings")
TARGET = Path("data/dedupe")
METRICS = Path("metrics/dedupe.json")
SCRATCH = Path(".darkroom/dedupe")

# Of the scores of clean those that tell of two copies which is better; none of them depends on
# other images, so that new ones change no representative.
QUALITY = ["blurry_score", "dark_score", "light_score", "low_information_score"]

LEAKS = "leaks_into_"  # and the stronger official split: why the weaker side's copy goes


class Params(StageParams):
    """The sections of params.yaml that dedupe reads."""

    engine: EngineParams
    embed: EmbedParams
    dedupe: DedupeParams
    split: SplitParams


def rank(keys: pd.DataFrame) -> list[str]:
    """Return the keys, best image first."""
    labelled = keys["label"].notna() | is_rated(keys)
    order = pd.DataFrame(
        {
            "strength": -keys["official_split"].map(lambda s: strength(_present(s))),
            "unlabelled": ~labelled,
            "pixels": -(keys["width"] * keys["height"]),
            "quality": -keys[QUALITY].sum(axis=1).round(6),
            "key": keys["key"],
        }
    )
    return list(order.sort_values(list(order.columns))["key"])


def rated_apart(keys: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return for each pair whether both images are rated, and differently."""
    rating = {
        row.key: rating_of(row.ratings, row.mean, row.std)
        for row in keys[["key", "ratings", "mean", "std"]].itertuples(index=False)
    }
    both = [(rating[a], rating[b]) for a, b in _links(pairs)]
    return pd.Series([None not in two and two[0] != two[1] for two in both], pairs.index, bool)


def decide_groups(
    keys: pd.DataFrame, pairs: pd.DataFrame, params: DedupeParams, decisions: Decisions
) -> pd.DataFrame:
    """Return GROUPS: who represents whom, which families there are, and why a copy is rejected."""
    redundant = pairs["duplicate"]
    if params.rated_apart == "keep":
        redundant = redundant & ~rated_apart(keys, pairs)
    ranked = rank(keys[keys["status"] == "kept"])
    duplicates = obey(_links(pairs[redundant]), ranked, decisions)
    representative = group_duplicates(ranked, duplicates, decisions.not_duplicate)
    akin = (
        pairs["duplicate"]
        | (pairs["normalised"] >= params.family_threshold)
        | (pairs["decided_by"] == "scene")
    )
    present = set(keys["key"])
    told = [pair for pair in decisions.duplicate if present.issuperset(pair)]
    family = connected_components(keys["key"], _links(pairs[akin]) + sorted(told))
    groups = keys.copy()
    groups["representative"] = [representative.get(key) for key in keys["key"]]
    groups["copy_group"] = [representative.get(key, key) for key in keys["key"]]
    groups["family"] = [family[key] for key in keys["key"]]
    copies = groups["copy_group"] != groups["key"]
    official = groups.set_index("key")["official_split"]
    groups.loc[copies, "status"] = "rejected"
    groups.loc[copies, "reason"] = [
        copy_reason(_present(row.official_split), _present(official[row.representative]))
        for row in groups[copies].itertuples()
    ]
    return groups[tables.GROUPS.names]


def copy_reason(official: str | None, of_representative: str | None) -> str:
    """Return why a copy goes: an official split that leaks into a stronger one is named."""
    if official is not None and of_representative is not None and official != of_representative:
        return f"{LEAKS}{of_representative}"
    return "copy"


def decide_records(
    index: pd.DataFrame, summary: pd.DataFrame, groups: pd.DataFrame
) -> pd.DataFrame:
    """Return RECORDS: the fate of each file that the user gave."""
    cleaned = _by_key(summary, ["status", "reason"])
    grouped = _by_key(groups, ["status", "reason", "representative"])
    official = groups.set_index("key")["official_split"].to_dict()
    first = index[index["status"] == "kept"]
    first = first.assign(
        strength=[-strength(_present(split)) for split in first["official_split"]]
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
            if _present(representative) and not (same and row.Index in keepers):
                status = "rejected"
                reason = copy_reason(
                    _present(row.official_split), _present(official[representative])
                )
                reason = "exact_duplicate" if same and reason == "copy" else reason
        rows.append((row.source, row.name, row.key, status, reason, representative))
    return pd.DataFrame(rows, columns=tables.RECORDS.names)


def _by_key(frame: pd.DataFrame, columns: list[str]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(frame["key"], frame[columns].itertuples(index=False), strict=True))


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
        "copies_labelled_otherwise": labelled_otherwise(groups),
        "pairs": {
            "candidates": len(pairs),
            "duplicates": int(pairs["duplicate"].sum()),
            "rated_apart": int((pairs["duplicate"] & rated_apart(groups, pairs)).sum()),
        },
    }


def count_leaks(official: pd.Series, records: pd.DataFrame) -> MetricTree:
    """Return how many records of a weaker official split leak into a stronger one.

    `official` has the split of each record, by its standard name.
    """
    reasons = records["reason"].map(lambda reason: _present(reason) or "")
    found = Counter(
        f"{source}_into_{reason.removeprefix(LEAKS)}"
        for source, reason in zip(official, reasons, strict=True)
        if reason.startswith(LEAKS)
    )
    ways = [f"{weak}_into_{strong}" for weak, strong in combinations(SPLITS, 2)]
    return {way: found[way] for way in ways}


def labelled_otherwise(groups: pd.DataFrame) -> int:
    """Return how many copies have another label than the image that represents them."""
    labels = groups.set_index("key")["label"]
    copies = groups[groups["representative"].notna() & groups["label"].notna()]
    of_best = copies["representative"].map(labels)
    return int((of_best.notna() & (of_best != copies["label"])).sum())


def count_review(groups: pd.DataFrame, decisions: Decisions) -> MetricTree:
    """Return how many decisions of each kind found their images; clean counts the rest."""
    keys = set(groups["key"])
    kinds = {
        "keep": [{key} for key in decisions.keep],
        "duplicate": map(set, decisions.duplicate),
        "not_duplicate": map(set, decisions.not_duplicate),
        "label": [{key} for key in decisions.label],
        "mean": [{key} for key in decisions.mean],
    }
    return {kind: sum(found <= keys for found in each) for kind, each in kinds.items()}


def _links(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(pairs["key_a"], pairs["key_b"], strict=True))


def _present(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def find_pairs(root: Path, keys: pd.DataFrame, params: Params, progress: Progress) -> pd.DataFrame:
    """Return PAIRS: candidates, verified, and those that shared a duplicate, verified as well."""
    names, vectors = tables.read_vectors(root / EMBEDDINGS, keys["key"])
    dedupe = params.dedupe
    background = load_background() if params.embed.network == "bundled" else None
    found = find_neighbours(
        names, vectors, background, dedupe.neighbours, dedupe.candidate_threshold,
        root / SCRATCH / "neighbours.npz",
    )  # fmt: skip
    candidates = score_pairs(names, vectors, found.foreign, found.pairs())
    places = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    places = places[places["key"].isin(set(names))].set_index("key")
    pairs = verify_pairs(
        root / RAW, places, candidates, dedupe.threshold, params.engine, root / SCRATCH
    )
    duplicates = _links(pairs[pairs["duplicate"]])
    representative = group_duplicates(rank(keys), duplicates)
    known = set(_links(pairs))
    shared = [p for p in unverified_links(representative, duplicates) if p not in known]
    row = {name: position for position, name in enumerate(names)}
    rows = np.array([(row[a], row[b]) for a, b in shared], np.int64).reshape(-1, 2)
    more = score_pairs(names, vectors, found.foreign, rows)
    verified = verify_pairs(
        root / RAW, places, more, dedupe.threshold, params.engine, root / SCRATCH
    )
    progress.advance(len(keys))
    return pd.concat([pairs, verified], ignore_index=True) if len(verified) else pairs


def run(root: Path, params: Params) -> None:
    """Settle labels, find copies, choose representatives."""
    index = tables.read_table(root / RAW / "index.parquet", tables.INDEX)
    summary = tables.read_table(root / SUMMARY)
    kept = summary[summary["status"] == "kept"]
    decisions = read_decisions(root)
    keys = resolve_records(index, params.dedupe, params.split, decisions).merge(
        kept.drop(columns=["status", "reason"]), on="key", how="inner"
    )
    conflicts = int(keys["label_conflict"].sum())
    if conflicts and params.dedupe.label_conflict == "error":
        names = ", ".join(keys.loc[keys["label_conflict"], "key"].head(5))
        raise UserError(
            f"{conflicts} images have records with different labels (first: {names}; see "
            "data/raw/index.parquet). Correct the labels, or set dedupe.label_conflict to drop or "
            "majority in params.yaml."
        )
    progress = Progress("dedupe", len(keys))
    pairs = find_pairs(root, keys[keys["status"] == "kept"], params, progress)
    groups = decide_groups(keys, pairs, params.dedupe, decisions)
    index["official_split"] = standard_splits(index["official_split"], params.split)
    records = decide_records(index, summary, groups)
    metrics = summarise(groups, pairs, records)
    metrics["leaks"] = count_leaks(index["official_split"], records)
    metrics["review"] = count_review(groups, decisions)
    metrics["labels"] = check_labels(groups, params.dedupe.min_class_images)
    tables.write_table(pairs, root / TARGET / "pairs.parquet", tables.PAIRS, ["key_a", "key_b"])
    tables.write_table(groups, root / TARGET / "groups.parquet", tables.GROUPS)
    tables.write_table(
        records, root / TARGET / "records.parquet", tables.RECORDS, ["source", "name"]
    )
    write_metrics(root / METRICS, metrics)
    progress.close(kept=metrics["kept"], rejected=metrics["rejected"])


if __name__ == "__main__":
    run_as_script(run, Params)
