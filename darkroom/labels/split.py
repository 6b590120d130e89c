"""Train, validation, test: which images stay together, and where each group goes."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.graphs import connected_components
from darkroom.core.params.split import SplitParams
from darkroom.core.randomness import digest_number
from darkroom.labels.allocation import allocate
from darkroom.labels.official_splits import SPLITS, strength
from darkroom.labels.votes import mean_of_votes

QUINTILES = 5


def split_groups(groups: pd.DataFrame) -> dict[str, str]:
    """Return each key's split group, named by its smallest source group or else smallest key.

    Rejected copies take part: what a copy is related to, its representative is related to.
    """
    nodes, links = [], []
    columns = ["key", "copy_group", "family", "source_group"]
    for key, copies, family, source in tables.rows(groups, columns):
        names = [f"copies:{copies}", f"family:{family}"]
        if source is not None:
            names.append(f"source:{source}")
        nodes += [f"key:{key}", *names]
        links += [(f"key:{key}", name) for name in names]
    component = connected_components(nodes, links)
    name: dict[str, str] = {}
    for node in sorted(nodes, key=lambda n: (not n.startswith("source:"), n)):
        kind, _, value = node.partition(":")
        if kind in {"source", "key"}:
            name.setdefault(component[node], value)
    return {key: name[component[f"key:{key}"]] for key in groups["key"]}


def find_strata(kept: pd.DataFrame) -> pd.Series:
    """Return each image's class or quintile of mean score, null where it has no label."""
    score = kept["mean"].astype(float)
    counted = kept["ratings"].notna()
    score[counted] = [
        float(mean_of_votes(votes, np.arange(len(votes)))) for votes in kept.loc[counted, "ratings"]
    ]
    stratum = kept["label"].astype(object).where(kept["label"].notna(), None)
    rated = score.notna() & stratum.isna()
    if rated.any():
        edges = np.quantile(score[rated], np.linspace(0, 1, QUINTILES + 1)[1:-1])
        which = np.searchsorted(edges, score[rated], side="right")
        stratum[rated] = [f"quintile_{number + 1}" for number in which]
    return stratum


def assign_splits(
    kept: pd.DataFrame, seed: int, params: SplitParams, earlier: Mapping[str, str]
) -> pd.Series:
    """Return each image's split; `kept` has `split_group`, `official_split` and `stratum`.

    `earlier` has the split of groups that an earlier run decided. Official splits stand above it,
    and what is related to an image of one goes with it.
    """
    place = kept["split_group"].map(lambda group: digest_number(seed, "split", group) / 2**128)
    kept = kept.assign(place=place)
    rank = kept["official_split"].map({name: strength(name) for name in SPLITS}).fillna(0)
    if params.official == "ignore":
        rank[:] = 0
    carved = rank.any() and not (rank == strength("validation")).any()
    rank = rank.where(rank > 0, rank.groupby(kept["split_group"]).transform("max"))
    split = rank.map({strength(name): name for name in SPLITS}).astype(object)
    pools = [(split.isna(), [1 - params.validation - params.test, params.validation, params.test])]
    if carved:  # validation, from train
        pools.append((split == "train", [1 - params.validation, params.validation, 0.0]))
    for chosen, shares in pools:
        allowed = {name for name, share in zip(SPLITS, shares, strict=True) if share > 0}
        stands = {group: name for group, name in earlier.items() if name in allowed}
        groups = allocate(kept[chosen], np.array(shares), stands)
        split[chosen] = kept.loc[chosen, "split_group"].map(groups)
    return split


def earlier_splits(before: pd.DataFrame, group_of: Mapping[str, str]) -> dict[str, str]:
    """Return what an earlier run decided of the present groups, by their names.

    `before` is its SPLIT, `group_of` the present group of each key. A group has the split of those
    that it grew out of, test before validation before train; one that was parted, as by another
    setting, is drawn anew.
    """
    now = before.assign(now=before["key"].map(group_of)).dropna(subset="now")
    whole = now.groupby("split_group")["now"].transform("nunique") == 1
    now = now[whole].assign(rank=now["split"].map(strength)).sort_values("rank")
    return dict(zip(now["now"], now["split"], strict=True))  # the last, and strongest, stays


def refuse_torn_sources(groups: pd.DataFrame) -> None:
    """Raise UserError when a source group lies across official splits."""
    named = groups[groups["source_group"].notna() & groups["official_split"].notna()]
    splits = named.groupby("source_group")["official_split"].nunique()
    torn = sorted(splits[splits > 1].index)
    if torn:
        raise UserError(
            f"{len(torn)} source groups lie across official splits (first: {torn[0]!r}). Images of "
            "one group depend on each other: correct `group` or `split` in the label table, or set "
            "split.official: ignore in params.yaml."
        )
