"""The difference of each metric between two revisions, and what may be said of it.

| metric | where each group is a single image | otherwise |
|---|---|---|
| AUC of two sides | paired DeLong | paired cluster bootstrap |
| accuracy | Bonett and Price's interval, exact McNemar | paired cluster bootstrap |
| all others | paired bootstrap over images | paired cluster bootstrap |

p-values are adjusted by Holm over all metrics of the comparison; intervals are each by itself.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.comparison.pairs import Pair
from darkroom.comparison.revisions import Revision, Settings
from darkroom.core.randomness import generator
from darkroom.evaluation import agreement
from darkroom.evaluation.agreement import Statistic
from darkroom.evaluation.classification import brier
from darkroom.evaluation.emd import emd_r1, emd_r2
from darkroom.evaluation.intervals import LEAST_GROUPS, Interval, codes_of
from darkroom.evaluation.paired import (
    accuracy_interval,
    delong_test,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_delong,
)
from darkroom.evaluation.roc import Flags, weighted_auc, weighted_macro_auc

Reals = NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference shown", "undefined"]
LOWER_IS_BETTER = {"rmse", "emd_r1", "emd_r2", "brier"}


class Difference(NamedTuple):
    """A metric of both sides; `interval` and `p` are of HEAD − BASE, None where undefined."""

    metric: str
    base: float | None
    head: float | None
    interval: Interval
    p: float | None
    p_holm: float | None = None
    verdict: Verdict = "undefined"

    @property
    def value(self) -> float | None:
        """Return HEAD − BASE."""
        return None if self.base is None or self.head is None else self.head - self.base


class Comparison(NamedTuple):
    """Two revisions, the images that both are judged on, and how they differ."""

    base: str
    head: str
    pair: Pair
    main: str  # the metric that counts most for the task
    sides: str  # what AUC tells apart
    confidence: float
    differences: list[Difference]

    @property
    def groups(self) -> int:
        """Return how many groups the images are in."""
        return codes_of(self.pair.groups)[1]

    @property
    def reliable(self) -> bool:
        """Return whether there are groups enough for intervals to cover what they say."""
        return self.groups >= LEAST_GROUPS

    def having(self, verdict: Verdict) -> list[str]:
        """Return the metrics with this verdict."""
        return [d.metric for d in self.differences if d.verdict == verdict]


def compare(base: Revision, head: Revision, pair: Pair) -> Comparison:
    """Return every difference; the settings of intervals are HEAD's."""
    judge = {"rating": _ratings, "classification": _classes, "one_class": _one_class}[head.task]
    main, sides, measured = judge(head, pair)
    confidence = head.settings.evaluate.confidence
    return Comparison(
        base.name, head.name, pair, main, sides, confidence, give_verdicts(measured, confidence)
    )


def give_verdicts(measured: Sequence[Difference], confidence: float) -> list[Difference]:
    """Adjust the p-values for their number and say which differences are significant."""
    adjusted = iter(holm([d.p for d in measured if d.p is not None]))
    judged = []
    for d in measured:
        if d.p is None or d.value is None:
            judged.append(d)
            continue
        p = next(adjusted)
        risen = (d.value > 0) != (d.metric in LOWER_IS_BETTER)
        verdict: Verdict = "better" if risen else "worse"
        judged.append(
            d._replace(p_holm=p, verdict=verdict if p <= 1 - confidence else "no difference shown")
        )
    return judged


Judged = tuple[str, str, list[Difference]]  # main metric, what AUC tells apart, differences


def _ratings(head: Revision, pair: Pair) -> Judged:
    cutoff = head.cutoff or 0.0
    target = _reals(pair.head, "target_mean")
    good, predicted = target > cutoff, [_reals(side, "predicted_mean") for side in _sides(pair)]
    groups, settings = pair.groups, head.settings
    weighted = {"srcc": agreement.weighted_srcc, "plcc": agreement.weighted_plcc}
    if pair.same_units:
        weighted["rmse"] = agreement.weighted_rmse
    found = [
        by_bootstrap(name, [statistic(target, p) for p in predicted], groups, settings)
        for name, statistic in weighted.items()
    ]
    if pair.same_bins:
        found += _distances(pair, settings)
    found.append(by_auc(good, predicted, groups, settings))
    if pair.same_units:
        right = [(p > cutoff) == good for p in predicted]
        found.append(by_accuracy(right, groups, settings))
    return "srcc", f"mean scores above {cutoff:g} from the rest", found


def _distances(pair: Pair, settings: Settings) -> list[Difference]:
    """Return both EMDs over the rows whose histogram is known."""
    known = pair.head["target_bin_1"].notna().to_numpy(bool)
    if not known.any():
        return []
    names = range(1, settings.train.scale.bins + 1)
    target = pair.head.loc[known, [f"target_bin_{k}" for k in names]].to_numpy(np.float64)
    bins = [side.loc[known, [f"bin_{k}" for k in names]].to_numpy(np.float64)
            for side in _sides(pair)]  # fmt: skip
    return [
        by_bootstrap(
            name,
            [agreement.weighted_mean(distance(target, each)) for each in bins],
            pair.groups[known],
            settings,
        )
        for name, distance in (("emd_r1", emd_r1), ("emd_r2", emd_r2))
    ]


def _classes(head: Revision, pair: Pair) -> Judged:
    target, groups, settings = pair.head["target_label"], pair.groups, head.settings
    is_class = np.column_stack([target == name for name in pair.classes])  # (n, classes)
    columns = [f"probability_{name}" for name in pair.classes]
    chances = [side[columns].to_numpy(np.float64) for side in _sides(pair)]
    right = [np.asarray(side["predicted_label"] == target, np.bool_) for side in _sides(pair)]
    if head.positive_class is not None:
        k = pair.classes.index(head.positive_class)
        sides = f"{head.positive_class} from the rest"
        area = by_auc(is_class[:, k], [each[:, k] for each in chances], groups, settings)
    else:
        sides = "each class from the rest, the mean of all"
        area = by_bootstrap(
            "auc", [weighted_macro_auc(is_class, e) for e in chances], groups, settings
        )
    errors = [agreement.weighted_mean(brier(is_class, each)) for each in chances]
    found = [
        by_accuracy(right, groups, settings),
        area,
        by_bootstrap("brier", errors, groups, settings),
    ]
    return ("auc" if len(pair.classes) == 2 else "accuracy"), sides, found


def _one_class(head: Revision, pair: Pair) -> Judged:
    normal = head.settings.train.normal_class
    outlying = np.asarray(pair.head["target_label"] != normal, np.bool_)
    scores = [_reals(side, "outlier_score") for side in _sides(pair)]
    area = by_auc(outlying, scores, pair.groups, head.settings)
    return "auc", f"outliers from {normal}", [area]


def by_bootstrap(
    name: str, statistics: Sequence[Statistic], groups: NDArray[Any], settings: Settings
) -> Difference:
    """Return the difference of any statistic, BASE's first, by the paired bootstrap."""
    a, b = statistics
    base, head = _value(a, len(groups)), _value(b, len(groups))
    confidence, resamples = settings.evaluate.confidence, settings.evaluate.bootstrap
    rng = generator(settings.seed, "compare", name)
    interval, p = paired_bootstrap(a, b, groups, confidence, resamples, rng)
    return Difference(name, base, head, interval, None if None in (base, head) else p)


def by_auc(
    positive: Flags, scores: Sequence[Reals], groups: NDArray[Any], settings: Settings
) -> Difference:
    """Return the difference of the AUC: by DeLong where groups are single images."""
    areas = [weighted_auc(positive, score) for score in scores]
    if codes_of(groups)[1] < len(groups):
        return by_bootstrap("auc", areas, groups, settings)
    a, b = scores
    base, head = (_value(area, len(groups)) for area in areas)
    interval = paired_delong(positive, a, b, settings.evaluate.confidence)
    return Difference("auc", base, head, interval, delong_test(positive, a, b))


def by_accuracy(right: Sequence[Flags], groups: NDArray[Any], settings: Settings) -> Difference:
    """Return the difference of accuracy: by McNemar where groups are single images."""
    if codes_of(groups)[1] < len(groups):
        shares = [agreement.weighted_mean(each.astype(np.float64)) for each in right]
        return by_bootstrap("accuracy", shares, groups, settings)
    a, b = right
    interval = accuracy_interval(a, b, settings.evaluate.confidence)
    return Difference("accuracy", float(a.mean()), float(b.mean()), interval, mcnemar(a, b))


def _value(statistic: Statistic, n: int) -> float | None:
    value = float(statistic(np.ones((1, n)))[0])
    return value if np.isfinite(value) else None


def _sides(pair: Pair) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pair.base, pair.head


def _reals(rows: pd.DataFrame, name: str) -> Reals:
    return np.asarray(rows[name], np.float64)
