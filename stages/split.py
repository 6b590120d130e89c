"""Split the kept images into train, validation and test, never tearing apart what belongs together.

Enters: `data/dedupe/groups.parquet`. Leaves: `data/split.parquet`, `metrics/split.json`.

- A split group is a connected component of equal `source_group`, `copy_group` and `family`.
- Its split is a pure function of (`seed`, split group): a number in [0, 1) from their hash, test
  below `split.test`, then validation, then train. So new images never move an old one, unless
  they join its group and lend it another name.
- A stratum (class, or quintile of the mean score) left without a test or validation image gets
  its train group of the lowest hash, as long as train keeps one.
- Official splits are respected, image by image; where a source names no validation, it is carved
  from train. A `source_group` across official splits is an error.

Alone: `python -m stages.split`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from darkroom.core import tables
from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.graphs import connected_components
from darkroom.core.params.section import StageParams
from darkroom.core.params.split import SplitParams
from darkroom.core.progress import Progress
from darkroom.core.randomness import digest_number
from darkroom.core.script import run_as_script
from darkroom.labels.official_splits import SPLITS
from darkroom.labels.votes import mean_of_votes

SOURCE = Path("data/dedupe/groups.parquet")
TARGET = Path("data/split.parquet")
METRICS = Path("metrics/split.json")

QUINTILES = 5


class Params(StageParams):
    """The sections of params.yaml that split reads."""

    seed: int
    split: SplitParams


def split_groups(groups: pd.DataFrame) -> dict[str, str]:
    """Return each key's split group, named by its smallest source group or else smallest key.

    Rejected copies take part: what a copy is related to, its representative is related to.
    """
    nodes, links = [], []
    for row in groups.itertuples():
        names = [f"copies:{row.copy_group}", f"family:{row.family}"]
        if isinstance(row.source_group, str):
            names.append(f"source:{row.source_group}")
        nodes += [f"key:{row.key}", *names]
        links += [(f"key:{row.key}", name) for name in names]
    component = connected_components(nodes, links)
    name: dict[str, str] = {}
    for node in sorted(nodes, key=lambda n: (not n.startswith("source:"), n)):
        kind, _, value = node.partition(":")
        if kind in {"source", "key"}:
            name.setdefault(component[node], value)
    return {key: name[component[f"key:{key}"]] for key in groups["key"]}


def position(seed: int, group: str) -> float:
    """Return the group's place in [0, 1), uniform over groups."""
    return digest_number(seed, "split", group) / 2**128


def strata(kept: pd.DataFrame) -> pd.Series:
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


def assign(kept: pd.DataFrame, seed: int, params: SplitParams) -> pd.Series:
    """Return each image's split; `kept` has `split_group`, `official_split` and `stratum`."""
    place = kept["split_group"].map(lambda group: position(seed, group))
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


def summarise(kept: pd.DataFrame) -> MetricTree:
    """Return images and groups per split, and the families that official splits tear."""
    per_family = kept.groupby("family")["split"].nunique()
    return {
        "groups": int(kept["split_group"].nunique()),
        "families_torn_by_official_splits": int((per_family > 1).sum()),
        **{
            name: {
                "images": int((kept["split"] == name).sum()),
                "groups": int(kept.loc[kept["split"] == name, "split_group"].nunique()),
            }
            for name in SPLITS
        },
    }


def run(root: Path, params: Params) -> None:
    """Split the kept representatives."""
    groups = tables.read_table(root / SOURCE, tables.GROUPS)
    if params.split.official == "respect":
        refuse_torn_sources(groups)
    groups["split_group"] = groups["key"].map(split_groups(groups))
    kept = groups[groups["status"] == "kept"].sort_values("key", ignore_index=True)
    progress = Progress("split", len(kept))
    kept["stratum"] = strata(kept)
    kept["split"] = assign(kept, params.seed, params.split)
    tables.write_table(kept[tables.SPLIT.names], root / TARGET, tables.SPLIT)
    write_metrics(root / METRICS, summarise(kept))
    progress.close(kept=len(kept), rejected={})


if __name__ == "__main__":
    run_as_script(run, Params)
