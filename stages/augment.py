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
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from itertools import chain as concatenated
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from darkroom.augmentation.balance import share_out
from darkroom.augmentation.chains import (
    Recipe,
    allowed_operations,
    apply,
    draw_variants,
    to_json,
)
from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.params.augment import AugmentParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.scale import Scale
from darkroom.core.params.section import StageParams
from darkroom.core.params.train import TrainParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.images.decode import Pixels, decode
from darkroom.labels.labelled import is_labelled
from darkroom.labels.normal_class import is_normal
from darkroom.labels.votes import bin_scores, mean_of_votes
from darkroom.workers.pool import new_pool, worker_count

RAW = Path("data/raw")
GROUPS = Path("data/dedupe/groups.parquet")
SPLIT = Path("data/split.parquet")
TARGET = Path("data/augmented")
METRICS = Path("metrics/augment.json")

VARIANTS_PER_ORDER = 8  # bounds what a worker process hands back at once
WORTH_A_PROCESS = 1000  # new images; below this, starting processes takes longer


class Params(StageParams):
    """The sections of params.yaml that augment reads."""

    seed: int
    engine: EngineParams
    augment: AugmentParams
    train: TrainParams


class Order(NamedTuple):
    """Variants `first` to `last` - 1 of one parent, and all that they depend on."""

    folder: Path
    place: shards.Place
    parent: str
    first: int
    last: int
    seed: int
    recipe: Recipe


class Made(NamedTuple):
    """One new image."""

    parent: str
    variant: int
    operations: str  # JSON
    content: bytes


def variants_each(parents: Mapping[str, Hashable], target: int, task: str) -> dict[str, int]:
    """Return how many variants each parent gets so that all together are `target` images.

    `parents` maps keys to strata. Raises UserError when there is nothing to start from, or already
    more than asked for.
    """
    if not parents:
        raise UserError(
            f"augment: the train split has no image with a label for train.task: {task}. Give the "
            "source labels, set train.task: none, or augment.target: 0 in params.yaml."
        )
    if target < len(parents):
        raise UserError(
            f"params.yaml: augment.target is {target}, but the train split has {len(parents)} "
            f"labelled originals already, which are never dropped. Set it to {len(parents)} or "
            "more, or to 0 for no augmentation."
        )
    return share_out(parents, target)


def strata_of(rows: pd.DataFrame, params: Params) -> dict[str, Hashable]:
    """Return what `augment.balance` balances, by key: the class, the score bin, or nothing.

    Raises UserError where the task has no such thing.
    """
    balance, task = params.augment.balance, params.train.task
    suits: dict[str, str] = {"class": "classification", "score_bin": "rating"}
    if balance == "none":
        return dict.fromkeys(rows["key"], "")
    if suits[balance] != task:
        raise UserError(
            f"params.yaml: augment.balance is {balance}, which is for train.task: {suits[balance]}"
            f"; it is {task}. Set balance to none, or to what suits the task."
        )
    if balance == "class":
        return dict(zip(rows["key"], rows["label"], strict=True))
    return dict(zip(rows["key"], score_bins(rows, params.train.scale), strict=True))


def score_bins(rows: pd.DataFrame, scale: Scale) -> list[int]:
    """Return the bin of each mean score: the given mean, or that of the votes.

    Raises UserError for votes that are none, or not of the scale.
    """
    scores = bin_scores(scale)
    for votes in rows.loc[rows["mean"].isna(), "ratings"]:
        if len(votes) != scale.bins or not sum(votes) > 0:
            raise UserError(
                f"augment.balance: score_bin: expected votes for {scale.bins} bins, one at least,"
                f" got {list(votes)}; set train.scale in params.yaml to the scale of your ratings,"
                " or correct the label table"
            )
    means = [
        float(mean_of_votes(votes, scores)) if pd.isna(mean) else float(mean)
        for mean, votes in zip(rows["mean"], rows["ratings"], strict=True)
    ]
    return [int(np.abs(scores - mean).argmin()) for mean in means]


def make(order: Order) -> list[Made]:
    """Make the variants of one order; its images were found whole by `clean`."""
    pixels = decode(shards.read_member(order.folder, order.place))
    chains = draw_variants(order.seed, order.parent, order.last, order.recipe, pixels.shape[:2])
    return [
        Made(order.parent, k, to_json(chains[k]), encode(apply(pixels, chains[k])))
        for k in range(order.first, order.last)
    ]


def encode(pixels: Pixels) -> bytes:
    """Return the image as PNG: three times as fast as Pillow's quickest, and no larger."""
    options = [
        cv2.IMWRITE_PNG_COMPRESSION, 1,
        cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP,
        cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    ]  # fmt: skip
    _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    return encoded.tobytes()


def make_all(orders: list[Order], engine: EngineParams) -> Iterator[Made]:
    """Yield every new image in order, made by worker processes where that saves time."""
    workers = min(worker_count(engine), len(orders))
    if workers <= 1 or sum(order.last - order.first for order in orders) < WORTH_A_PROCESS:
        yield from concatenated.from_iterable(map(make, orders))
        return
    with new_pool(workers) as pool:
        running: deque[Future[list[Made]]] = deque()
        for order in orders:
            running.append(pool.submit(make, order))
            if len(running) > 2 * workers:
                yield from running.popleft().result()
        for future in running:
            yield from future.result()


def write_shards(folder: Path, images: Iterable[Made]) -> pd.DataFrame:
    """Stream new images into shards; return AUGMENTED."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in [folder / "index.parquet", *folder.glob("*.tar")]:
        stale.unlink(missing_ok=True)
    rows: list[tuple[object, ...]] = []
    waiting = iter(images)
    head = next(waiting, None)

    def fill() -> Iterator[tuple[str, bytes]]:
        nonlocal head
        members = size = 0
        while head is not None and members < shards.MAX_IMAGES and size < shards.MAX_BYTES:
            key = shards.key_of(head.content)
            rows.append((key, *head[:3]))
            yield f"{key}.png", head.content
            members, size, head = members + 1, size + len(head.content), next(waiting, None)

    places: list[shards.Place] = []
    number = 0
    while head is not None:
        places += shards.write_shard(folder / shards.shard_name(number), fill())
        number += 1
    table = [(*row, *place) for row, place in zip(rows, places, strict=True)]
    return pd.DataFrame(table, columns=tables.AUGMENTED.names)


def summarise(augmented: pd.DataFrame, originals: int, target: int) -> MetricTree:
    """Return the counts that `metrics/augment.json` holds."""
    used = Counter(step["name"] for text in augmented["operations"] for step in json.loads(text))
    return {
        "train_images": originals,
        "new_images": len(augmented),
        "target": target,
        "operations": dict(sorted(used.items())),
    }


def plan(root: Path, params: Params) -> tuple[list[Order], int]:
    """Return what to make, and how many originals the train split has."""
    task, wishes = params.train.task, params.augment
    limits = allowed_operations(task, wishes.operations)
    if task == "rating" and wishes.fill == "constant":
        raise UserError(
            "params.yaml: augment.fill is constant, which leaves black bars that nobody rated; with"
            " train.task: rating set it to reflect, nearest or wrap."
        )
    recipe = Recipe(limits, wishes.operations_per_image, wishes.fill)
    split = tables.read_table(root / SPLIT, tables.SPLIT)
    train = set(split.loc[split["split"] == "train", "key"])
    if task == "none":
        return [], len(train)
    groups = tables.read_table(root / GROUPS, tables.GROUPS)
    rows = groups[groups["key"].isin(train) & is_labelled(groups, task)]
    if task == "one_class":  # the others are outliers, which are never trained on
        rows = rows[is_normal(groups["label"], params.train.normal_class)[rows.index]]
    parents = strata_of(rows, params)
    if wishes.target == 0:
        return [], len(parents)
    stored = shards.stored(tables.read_table(root / RAW / "index.parquet", tables.INDEX))
    stored = stored[stored["key"].isin(parents)]
    places = {row.key: shards.Place(row.shard, row.offset, row.size) for row in stored.itertuples()}
    orders = [
        Order(root / RAW, places[parent], parent, first, min(first + VARIANTS_PER_ORDER, count),
              params.seed, recipe)
        for parent, count in variants_each(parents, wishes.target, task).items()
        for first in range(0, count, VARIANTS_PER_ORDER)
    ]  # fmt: skip
    return orders, len(parents)


def run(root: Path, params: Params) -> None:
    """Make the missing training images."""
    orders, originals = plan(root, params)
    progress = Progress("augment", sum(order.last - order.first for order in orders))

    def counted() -> Iterator[Made]:
        for image in make_all(orders, params.engine):
            progress.advance(1)
            yield image

    augmented = write_shards(root / TARGET, counted())
    tables.write_table(
        augmented, root / TARGET / "index.parquet", tables.AUGMENTED, ["parent", "variant"]
    )
    write_metrics(root / METRICS, summarise(augmented, originals, params.augment.target))
    progress.close(kept=len(augmented), rejected={})


if __name__ == "__main__":
    run_as_script(run, Params)
