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

import pandas as pd

from darkroom.core import tables
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.params.section import StageParams
from darkroom.core.params.split import SplitParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.labels.official_splits import SPLITS
from darkroom.labels.split import assign_splits, find_strata, refuse_torn_sources, split_groups

SOURCE = Path("data/dedupe/groups.parquet")
TARGET = Path("data/split.parquet")
METRICS = Path("metrics/split.json")


class Params(StageParams):
    """The sections of params.yaml that split reads."""

    seed: int
    split: SplitParams


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
    kept["stratum"] = find_strata(kept)
    kept["split"] = assign_splits(kept, params.seed, params.split)
    tables.write_table(kept[tables.SPLIT.names], root / TARGET, tables.SPLIT)
    write_metrics(root / METRICS, summarise(kept))
    progress.close(kept=len(kept), rejected={})


if __name__ == "__main__":
    run_as_script(run, Params)
