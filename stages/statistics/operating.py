"""Operating points: what a threshold gives, and what that means at another prevalence."""

import numpy as np
from numpy.typing import NDArray

from stages.lib.files import MetricTree
from stages.statistics.figures import Settings, figure, interval_name, share_figure
from stages.statistics.intervals import Groups, Interval, no_interval, ratio_interval
from stages.statistics.roc import Flags, youden_threshold

Reals = NDArray[np.float64]


def choose_threshold(positive: Flags, score: Reals, otherwise: float) -> tuple[float, str]:
    """Return Youden's threshold of the validation split and how it was chosen.

    Where that split lacks a class, or no threshold beats chance, it is `otherwise`.
    """
    best = youden_threshold(positive, score)
    if best is None:
        return otherwise, "default: validation has one class alone, or no threshold beats chance"
    return best, "youden's index on validation"


def operating_point(
    threshold: float, positive: Flags, score: Reals, groups: Groups, settings: Settings
) -> MetricTree:
    """Return sensitivity, specificity, ppv and npv (and accuracy) of `score` ≥ `threshold`."""
    called = score >= threshold
    shares = {
        "sensitivity": (called, positive),
        "specificity": (~called, ~positive),
        "ppv": (positive, called),
        "npv": (~positive, ~called),
        "accuracy": (called == positive, np.ones_like(called)),
    }
    tree: MetricTree = {"threshold": threshold}
    for name, (success, among) in shares.items():
        tree[name] = share_figure(success[among], groups[among], settings)
    if settings.prevalence is not None:
        tree["at_prevalence"] = at_prevalence(tree, settings.prevalence, settings.confidence)
    return tree


def at_prevalence(point: MetricTree, prevalence: float, confidence: float) -> MetricTree:
    """Return ppv and npv of an operating point where the share of positives is `prevalence`.

    By Bayes the odds of a positive call are prevalence / (1 − prevalence) times the likelihood
    ratio, sensitivity / (1 − specificity); the interval is that ratio's (MOVER-R).
    """
    odds = prevalence / (1 - prevalence)
    hit, rest = (_bounds(point[name], confidence) for name in ("sensitivity", "specificity"))
    ppv = _predictive_value(hit, _complement(rest), odds, confidence)
    npv = _predictive_value(rest, _complement(hit), 1 / odds, confidence)
    return {"prevalence": prevalence, "ppv": ppv, "npv": npv}


Share = tuple[float, Interval] | None


def _bounds(tree: MetricTree, confidence: float) -> Share:
    ends = tree[interval_name(confidence)]
    if tree["value"] is None or ends["low"] is None:
        return None
    return tree["value"], Interval(ends["low"], ends["high"], tree["method"])


def _complement(share: Share) -> Share:
    if share is None or share[1].low is None or share[1].high is None:
        return None
    return 1 - share[0], Interval(1 - share[1].high, 1 - share[1].low, share[1].method)


def _predictive_value(right: Share, wrong: Share, odds: float, confidence: float) -> MetricTree:
    """Return odds·right / (odds·right + wrong); None where nothing is called so."""
    method = "mover-r of the likelihood ratio"
    if right is None or wrong is None:
        return figure(None, no_interval(method, "one class only"), confidence)
    calls = odds * right[0] + wrong[0]
    if calls == 0:
        return figure(None, no_interval(method, "no image is called so"), confidence)
    low, high = (odds * ratio for ratio in ratio_interval(right, wrong))
    top = 1.0 if np.isinf(high) else high / (1 + high)
    return figure(odds * right[0] / calls, Interval(low / (1 + low), top, method), confidence)
