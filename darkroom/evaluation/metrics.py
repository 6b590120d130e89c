"""Metrics with their intervals, in the shape in which metrics files hold them."""

from typing import Any, NamedTuple

import numpy as np

from darkroom.core.files import MetricTree
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.randomness import generator
from darkroom.evaluation.bootstrap import BOOTSTRAP, UNDEFINED, cluster_bootstrap
from darkroom.evaluation.delong import auc_interval
from darkroom.evaluation.intervals import MIN_GROUPS, Interval, no_interval, proportion_interval
from darkroom.evaluation.roc import auc, weighted_partial_auc
from darkroom.evaluation.statistic import (
    Flags,
    Groups,
    Reals,
    Statistic,
    encode_groups,
    unweighted,
    weighted_mean,
)


class BinaryScores(NamedTuple):
    """Labels and scores of a binary task; the score is higher for positives."""

    positive: Flags  # (n,)
    score: Reals  # (n,)
    groups: Groups  # (n,) names of split groups


class Settings(EvaluateParams):
    """How metrics and their intervals are computed: `evaluate` in params.yaml, and the seed."""

    seed: int

    @classmethod
    def of(cls, params: EvaluateParams, seed: int) -> "Settings":
        """Return the settings that these parameters give."""
        return cls(**dict(params), seed=seed)

    def rng(self, name: str) -> np.random.Generator:
        """Return the random generator of the metric with this name."""
        return generator(self.seed, "evaluate", name)


def with_interval(value: float | None, interval: Interval, confidence: float) -> MetricTree:
    """Return `value`, `ci95.low`, `ci95.high` and `method`, and a `note` where one is due."""
    tree: MetricTree = {
        "value": value,
        interval_key(confidence): {"low": interval.low, "high": interval.high},
        "method": interval.method,
    }
    return tree | ({"note": interval.note} if interval.note else {})


def limits(metric: MetricTree, confidence: float) -> tuple[Any, Any, Any]:
    """Return a metric's value, low and high, each perhaps None."""
    interval = metric[interval_key(confidence)]
    return metric["value"], interval["low"], interval["high"]


def interval_key(confidence: float) -> str:
    """Return the key of an interval.

    >>> interval_key(0.95), interval_key(0.975)
    ('ci95', 'ci97_5')
    """
    return f"ci{100 * confidence:.6g}".replace(".", "_")


def metric_key(name: str) -> str:
    """Return a class name as a key of metrics, whose levels DVC joins with dots.

    >>> metric_key("no.1")
    'no%2E1'
    """
    return name.replace("%", "%25").replace(".", "%2E")


def bootstrap_metric(
    name: str, value: float | None, statistic: Statistic, groups: Groups, settings: Settings
) -> MetricTree:
    """Return a metric with the cluster bootstrap's interval.

    A value that no other draw of groups has is one of these images, not of the model: None.
    """
    if value is None:
        interval = no_interval(BOOTSTRAP, "undefined: too few or constant values")
    else:
        interval = cluster_bootstrap(
            statistic, groups, settings.confidence, settings.bootstrap, settings.rng(name)
        )
        value = None if interval.note == UNDEFINED else value
    return with_interval(value, interval, settings.confidence)


def statistic_metric(
    name: str, statistic: Statistic, groups: Groups, settings: Settings
) -> MetricTree:
    """Return a metric whose value is the statistic of all images, once each."""
    return bootstrap_metric(name, unweighted(statistic, len(groups)), statistic, groups, settings)


def mean_metric(name: str, values: Reals, groups: Groups, settings: Settings) -> MetricTree:
    """Return the mean of `values` (n,) as a metric; None where there are no images."""
    mean = float(values.mean()) if values.size else None
    return bootstrap_metric(name, mean, weighted_mean(values), groups, settings)


def proportion_metric(success: Flags, groups: Groups, settings: Settings) -> MetricTree:
    """Return the proportion of `success` as a metric; None where there are no images."""
    interval = proportion_interval(success, groups, settings.confidence)
    share = float(success.mean()) if success.size else None
    return with_interval(share, interval, settings.confidence)


def auc_metric(task: BinaryScores, settings: Settings) -> MetricTree:
    """Return the AUC as a metric."""
    interval = auc_interval(*task, settings.confidence)
    return with_interval(auc(task.positive, task.score), interval, settings.confidence)


def partial_auc_metric(task: BinaryScores, settings: Settings) -> MetricTree:
    """Return the standardised partial AUC as a metric, and `below`, its limit."""
    below = settings.partial_auc_below
    statistic = weighted_partial_auc(task.positive, task.score, below)
    return statistic_metric("partial_auc", statistic, task.groups, settings) | {"below": below}


def group_counts(groups: Groups) -> dict[str, Any]:
    """Return `groups` and whether their intervals can be relied on."""
    _, count = encode_groups(groups)
    counts: dict[str, Any] = {"groups": count, "interval_reliable": count >= MIN_GROUPS}
    if count < MIN_GROUPS:
        counts["note"] = f"interval unreliable: {count} groups"
    return counts
