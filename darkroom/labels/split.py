"""Train, validation, test: which images stay together, and where each group goes."""

import numpy as np
import pandas as pd

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.graphs import connected_components
from darkroom.core.params.split import SplitParams
from darkroom.core.randomness import digest_number
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


def assign_splits(kept: pd.DataFrame, seed: int, params: SplitParams) -> pd.Series:
    """Return each image's split; `kept` has `split_group`, `official_split` and `stratum`."""
    # in [0, 1), uniform over groups
    place = kept["split_group"].map(lambda group: digest_number(seed, "split", group) / 2**128)
    split = pd.Series("train", index=kept.index, dtype=object)
    split[place < params.test + params.validation] = "validation"
    split[place < params.test] = "test"
    official = kept["official_split"].where(kept["official_split"].notna(), None)
    if params.official == "respect" and official.notna().any():
        split = official.fillna(split)
        if not (official == "validation").any():
            split[(official == "train") & (place < params.validation)] = "validation"
    else:
        official = pd.Series(None, index=kept.index, dtype=object)
    for name, share in (("test", params.test), ("validation", params.validation)):
        if share > 0 and not (official == name).any():
            movable = official.isna() | ((official == "train") & (name == "validation"))
            split = fill_strata(kept, split, place, movable, name)
    return split


def fill_strata(
    kept: pd.DataFrame, split: pd.Series, place: pd.Series, movable: pd.Series, name: str
) -> pd.Series:
    """Give each stratum that has none of the split `name` its train group of the lowest hash."""
    split = split.copy()
    for stratum in sorted(kept["stratum"].dropna().unique()):
        inside = kept["stratum"] == stratum
        if (split[inside] == name).any():
            continue
        spare = inside & (split == "train") & movable
        if kept.loc[inside & (split == "train"), "split_group"].nunique() < 2 or not spare.any():
            continue
        group = kept.loc[place[spare].idxmin(), "split_group"]
        split[(kept["split_group"] == group) & movable & (split == "train")] = name
    return split


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
