"""Make new training images from the train split until it has `augment.target` images.

Enters: `data/split.parquet`, `data/dedupe/groups.parquet` (labels), `data/raw`. Leaves: shards and
`index.parquet` in `data/augmented`, and `metrics/augment.json`. A new image has its parent's label.

- Parents are the train split's images with a label that `train.task` can use. Each has as many
  variants as the others, or one more; with `augment.balance` rare classes or score bins are filled
  first.
- Each variant is a chain of `augment.operations_per_image` different operations that keep the
  task's labels true (`darkroom.augmentation.chains`), drawn from (seed, parent, variant).
- Stored as PNG: compression would be a fault that the parent's rating does not know.
- `train.task: none` and `augment.target: 0` make nothing; a target below the originals is an error.
- Images stream, so that memory holds tables and a few images; an interrupted run starts again.

Alone: `python -m stages.augment`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from darkroom.augmentation.balance import count_variants, find_strata
from darkroom.augmentation.chains import Recipe, allowed_operations
from darkroom.augmentation.generate import (
    Batch,
    FailedParent,
    NewImage,
    make_all,
    plan_batches,
    write_shards,
)
from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.failure_limit import count_failed
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.params.augment import AugmentParams
from darkroom.core.params.clean import CleanParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.section import StageParams
from darkroom.core.params.train import TrainParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.images.grey_range import read_range
from darkroom.labels.labelled import is_labelled, is_normal

RAW = Path("data/raw")
GROUPS = Path("data/dedupe/groups.parquet")
SPLIT = Path("data/split.parquet")
TARGET = Path("data/augmented")
METRICS = Path("metrics/augment.json")


class Params(StageParams):
    """The sections of params.yaml that augment reads."""

    seed: int
    engine: EngineParams
    clean: CleanParams
    augment: AugmentParams
    train: TrainParams


def summarise(augmented: pd.DataFrame, originals: int, target: int) -> MetricTree:
    """Return the counts that `metrics/augment.json` holds."""
    used = Counter(step["name"] for text in augmented["operations"] for step in json.loads(text))
    return {
        "train_images": originals,
        "new_images": len(augmented),
        "target": target,
        "operations": dict(sorted(used.items())),
    }


def plan(root: Path, params: Params) -> tuple[list[Batch], int]:
    """Return what to make, and how many originals the train split has."""
    task, augment = params.train.task, params.augment
    limits = allowed_operations(task, augment.operations)
    if task == "rating" and augment.fill == "constant":
        raise UserError(
            "params.yaml: augment.fill is constant, which leaves black bars that nobody rated; with"
            " train.task: rating set it to reflect, nearest or wrap."
        )
    recipe = Recipe(limits, augment.operations_per_image, augment.fill)
    split = tables.read_table(root / SPLIT, tables.SPLIT)
    train = set(split.loc[split["split"] == "train", "key"])
    if task == "none":
        return [], len(train)
    groups = tables.read_table(root / GROUPS, tables.GROUPS)
    rows = groups[groups["key"].isin(train) & is_labelled(groups, task)]
    if task == "one_class":  # the others are outliers, which are never trained on
        rows = rows[is_normal(groups["label"], params.train.normal_class)[rows.index]]
    parents = find_strata(rows, params.augment, params.train)
    if augment.target == 0:
        return [], len(parents)
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    variants = count_variants(parents, augment.target, task)
    limit = params.clean.max_pixels
    batches = plan_batches(
        root / RAW, stored, variants, params.seed, recipe, limit, read_range(root)
    )
    return batches, len(parents)


def run(root: Path, params: Params) -> None:
    """Make the missing training images."""
    batches, originals = plan(root, params)
    progress = Progress("augment", sum(batch.last - batch.first for batch in batches))

    failed: dict[str, str] = {}

    def counted() -> Iterator[NewImage]:
        for image in make_all(batches, params.engine):
            if isinstance(image, FailedParent):
                failed[image.key] = image.reason
            else:
                progress.advance(1)
                yield image

    augmented = write_shards(root / TARGET, counted())
    tables.write_table(
        augmented, root / TARGET / "index.parquet", tables.AUGMENTED, ["parent", "variant"]
    )
    metrics = summarise(augmented, originals, params.augment.target)
    metrics["failed_parents"] = count_failed("augment", failed)
    write_metrics(root / METRICS, metrics)
    progress.close(kept=len(augmented), rejected={})


if __name__ == "__main__":
    run_as_script(run, Params)
