"""Split the kept images into train, validation and test, never tearing apart what belongs together.

Enters: `data/dedupe/groups.parquet`, and of an earlier run `data/split.parquet`. Leaves that, anew,
and `metrics/split.json`.

- A split group is a connected component of equal `source_group`, `copy_group` and `family`.
- What an earlier run decided stands, so that new images never move an old one. That holds as long
  as the seed and the settings of split do: with others, or where the file is deleted, all is drawn.
- A new group's split is a function of (`seed`, split group), unless shares would be off by more
  than 3 points or a small class would lack train, test or validation images: see
  `darkroom.labels.allocation`. A stratum is a class, or a fifth of the mean scores.
- Official splits are respected, image by image; where a source names no validation, it is carved
  from train. A `source_group` across official splits is an error.
- Where train or validation can get no labelled image, and `train.task` is to learn, it stops.

Alone: `python -m stages.split`.
"""

import json
from pathlib import Path

import pandas as pd

from darkroom.core import tables
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.params.section import StageParams
from darkroom.core.params.split import SplitParams
from darkroom.core.params.train import TrainParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.labels.shares import count_splits, refuse_unfilled, say_shares
from darkroom.labels.split import (
    assign_splits,
    earlier_splits,
    find_strata,
    refuse_torn_sources,
    split_groups,
)

SOURCE = Path("data/dedupe/groups.parquet")
TARGET = Path("data/split.parquet")
METRICS = Path("metrics/split.json")


class Params(StageParams):
    """The sections of params.yaml that split reads."""

    seed: int
    split: SplitParams
    train: TrainParams


def read_earlier(path: Path, drawn_with: str, group_of: dict[str, str]) -> dict[str, str]:
    """Return the splits of the present groups that an earlier run with these settings decided."""
    if not path.exists() or tables.read_note(path) != drawn_with:
        return {}
    return earlier_splits(tables.read_table(path, tables.SPLIT), group_of)


def summarise(kept: pd.DataFrame, params: SplitParams) -> MetricTree:
    """Return groups, what each split got, and how many families official splits tear."""
    per_family = kept.groupby("family")["split"].nunique()
    return {
        "groups": int(kept["split_group"].nunique()),
        "families_torn_by_official_splits": int((per_family > 1).sum()),
        **count_splits(kept, params),
    }


def run(root: Path, params: Params) -> None:
    """Split the kept representatives."""
    groups = tables.read_table(root / SOURCE, tables.GROUPS)
    if params.split.official == "respect":
        refuse_torn_sources(groups)
    group_of = split_groups(groups)
    groups["split_group"] = groups["key"].map(group_of)
    kept = groups[groups["status"] == "kept"].sort_values("key", ignore_index=True)
    progress = Progress("split", len(kept))
    drawn_with = json.dumps({"seed": params.seed, **params.split.model_dump()}, sort_keys=True)
    earlier = read_earlier(root / TARGET, drawn_with, group_of)
    kept["stratum"] = find_strata(kept)
    kept["split"] = assign_splits(kept, params.seed, params.split, earlier)
    refuse_unfilled(kept, params.split, params.train.task)
    say_shares(kept, params.split)
    tables.write_table(kept[tables.SPLIT.names], root / TARGET, tables.SPLIT, note=drawn_with)
    write_metrics(root / METRICS, summarise(kept, params.split))
    progress.close(kept=len(kept), rejected={})


if __name__ == "__main__":
    run_as_script(run, Params)
