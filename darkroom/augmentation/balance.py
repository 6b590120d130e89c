"""How many new images each original gets: evenly, or first to what is rare."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.params.augment import AugmentParams
from darkroom.core.params.scale import Scale
from darkroom.core.params.train import TrainParams
from darkroom.labels.votes import bin_scores, mean_of_votes


def count_variants(parents: Mapping[str, Hashable], target: int, task: str) -> dict[str, int]:
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
    return distribute(parents, target)


def distribute(parents: Mapping[str, Hashable], target: int) -> dict[str, int]:
    """Return the variants of each parent so that originals and variants together are `target`.

    `parents` maps each key to its stratum (its class, its score bin; one for all: no balance).
    Rare strata are filled first: to the level at which the images are used up, so that none that
    was filled ends more than one image above one that was not. Within a stratum parents differ by
    one at most; those of lower key have one more. There is at least one parent, and `target` is no
    lower than their number.

    >>> distribute({"a": "cat", "b": "cat", "c": "cat", "d": "dog"}, 6)
    {'a': 0, 'b': 0, 'c': 0, 'd': 2}
    """
    members: dict[Hashable, list[str]] = {}
    for key in sorted(parents):
        members.setdefault(parents[key], []).append(key)
    strata = sorted(members, key=lambda stratum: members[stratum][0])
    counts = np.array([len(members[stratum]) for stratum in strata])
    each: dict[str, int] = {}
    for stratum, new in zip(strata, _fill(counts, target) - counts, strict=True):
        keys = members[stratum]
        all_get, more = divmod(int(new), len(keys))
        each |= {key: all_get + (turn < more) for turn, key in enumerate(keys)}
    return {key: each[key] for key in sorted(each)}


def _fill(counts: NDArray[np.int64], target: int) -> NDArray[np.int64]:
    """Return the sizes after filling the smallest up to a common level, `target` in all."""
    level = int(counts.min())
    while np.maximum(counts, level + 1).sum() <= target:
        # As far as the images reach for those below the next larger size, in one step.
        below = counts <= level
        larger = counts[~below].min(initial=np.iinfo(np.int64).max)
        reach = (target - counts[~below].sum()) // below.sum()
        level = int(min(larger, reach))
    filled = np.maximum(counts, level)
    rest = target - int(filled.sum())
    raised = np.flatnonzero(counts <= level)[:rest]
    filled[raised] += 1
    return filled


def find_strata(
    rows: pd.DataFrame, augment: AugmentParams, train: TrainParams
) -> dict[str, Hashable]:
    """Return what `augment.balance` balances, by key: the class, the score bin, or nothing.

    Raises UserError where the task has no such thing.
    """
    balance, task = augment.balance, train.task
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
    return dict(zip(rows["key"], score_bins(rows, train.scale), strict=True))


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
