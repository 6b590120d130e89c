"""Numbers with their intervals, in the shape in which metrics files hold them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from darkroom.core.files import MetricTree
from darkroom.core.randomness import generator
from darkroom.evaluation.agreement import Statistic
from darkroom.evaluation.intervals import (
    BOOTSTRAP,
    LEAST_GROUPS,
    Groups,
    Interval,
    auc_interval,
    cluster_bootstrap,
    codes_of,
    no_interval,
    share_interval,
)
from darkroom.evaluation.roc import Flags, auc, partial_auc, weighted_partial_auc

Reals = NDArray[np.float64]


class Side(NamedTuple):
    """Images among which positives are to be found, by a score that is higher for them."""

    positive: Flags  # (n,)
    score: Reals  # (n,)
    groups: Groups  # (n,) names of split groups


class Settings(NamedTuple):
    """How figures and their intervals are made: `evaluate` in params.yaml, and the seed."""

    confidence: float
    resamples: int
    prevalence: float | None  # share of positives in use, where known
    seed: int
    specificity: float  # that one operating point is to reach
    costs: tuple[float, float] | None  # of a false positive, of a false negative
    partial_auc_below: float  # false positive rate up to which the partial AUC looks

    def rng(self, name: str) -> np.random.Generator:
        """Return the generator of the figure with this name."""
        return generator(self.seed, "evaluate", name)


def figure(value: float | None, interval: Interval, confidence: float) -> MetricTree:
    """Return `value`, `ci95.low`, `ci95.high` and `method`, and a `note` where one is due."""
    tree: MetricTree = {
        "value": value,
        interval_name(confidence): {"low": interval.low, "high": interval.high},
        "method": interval.method,
    }
    return tree | ({"note": interval.note} if interval.note else {})


def interval_name(confidence: float) -> str:
    """Return the key of an interval.

    >>> interval_name(0.95), interval_name(0.975)
    ('ci95', 'ci97_5')
    """
    return f"ci{100 * confidence:.6g}".replace(".", "_")


def metric_key(name: str) -> str:
    """Return a class name as a key of metrics, whose levels DVC joins with dots.

    >>> metric_key("no.1")
    'no%2E1'
    """
    return name.replace("%", "%25").replace(".", "%2E")


def bootstrap_figure(
    name: str, value: float | None, statistic: Statistic, groups: Groups, settings: Settings
) -> MetricTree:
    """Return a figure with the cluster bootstrap's interval."""
    if value is None:
        interval = no_interval(BOOTSTRAP, "undefined: too few or constant values")
    else:
        interval = cluster_bootstrap(
            statistic, groups, settings.confidence, settings.resamples, settings.rng(name)
        )
    return figure(value, interval, settings.confidence)


def share_figure(success: Flags, groups: Groups, settings: Settings) -> MetricTree:
    """Return the share of `success` as a figure; None where there are no images."""
    interval = share_interval(success, groups, settings.confidence)
    return figure(float(success.mean()) if success.size else None, interval, settings.confidence)


def auc_figure(side: Side, settings: Settings) -> MetricTree:
    """Return the AUC as a figure."""
    interval = auc_interval(*side, settings.confidence)
    return figure(auc(side.positive, side.score), interval, settings.confidence)


def partial_auc_figure(name: str, side: Side, settings: Settings) -> MetricTree:
    """Return the standardised partial AUC as a figure, and `below`, how far it looks."""
    below = settings.partial_auc_below
    value = partial_auc(side.positive, side.score, below)
    statistic = weighted_partial_auc(side.positive, side.score, below)
    return bootstrap_figure(name, value, statistic, side.groups, settings) | {"below": below}


def group_counts(groups: Groups) -> dict[str, Any]:
    """Return `groups` and whether their intervals can be relied on."""
    _, count = codes_of(groups)
    counts: dict[str, Any] = {"groups": count, "interval_reliable": count >= LEAST_GROUPS}
    if count < LEAST_GROUPS:
        counts["note"] = f"interval unreliable: {count} groups"
    return counts
