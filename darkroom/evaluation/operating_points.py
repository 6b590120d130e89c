"""Operating points: chosen on validation, judged on test, and what they mean at a prevalence."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from darkroom.core.files import MetricTree
from darkroom.evaluation import thresholds
from darkroom.evaluation.intervals import Interval, no_interval, ratio_interval
from darkroom.evaluation.metrics import (
    Settings,
    Side,
    figure,
    interval_name,
    metric_key,
    share_figure,
)

Reals = NDArray[np.float64]

FEW = 20  # images of one kind: fewer move a rate by more than 5 points each


class Default(NamedTuple):
    """The threshold where validation cannot choose one, and what it is in words."""

    threshold: float
    words: str


class Rule(NamedTuple):
    """How a threshold is chosen on validation; `choose` returns None where it cannot."""

    words: str
    choose: Callable[[Side], float | None]


def rules(validation: Side, settings: Settings) -> dict[str, Rule]:
    """Return the rules in force, by the name of their operating point."""
    least = settings.specificity
    found = {
        "closest_to_corner": Rule(
            "least distance to the corner (0, 1) on validation",
            lambda side: thresholds.closest_to_corner(side.positive, side.score),
        ),
        "youden": Rule(
            "greatest sum of sensitivity and specificity on validation",
            lambda side: thresholds.youden(side.positive, side.score),
        ),
        metric_key(f"specificity_{100 * least:g}"): Rule(
            f"specificity of at least {least:g} on validation",
            lambda side: thresholds.at_specificity(side.positive, side.score, least),
        ),
    }
    if settings.costs is not None:
        found["least_cost"] = _cheapest(validation, settings, *settings.costs)
    return found


def _cheapest(
    validation: Side, settings: Settings, false_positive: float, false_negative: float
) -> Rule:
    share = float(validation.positive.mean()) if validation.positive.size else 0.0
    prevalence = share if settings.prevalence is None else settings.prevalence
    whose = "that of validation" if settings.prevalence is None else "evaluate.prevalence"
    return Rule(
        f"least cost on validation: {false_positive:g} per false positive, {false_negative:g} per"
        f" false negative, at a prevalence of {prevalence:.3g}, {whose}",
        lambda side: thresholds.least_cost(
            side.positive, side.score, false_positive, false_negative, prevalence
        ),
    )


def operating_points(
    test: Side, validation: Side, otherwise: Default | None, settings: Settings
) -> MetricTree:
    """Return each rule's operating point; without a default those alone that can be chosen."""
    positives = int(validation.positive.sum())
    counts = positives, validation.positive.size - positives
    tree: MetricTree = {}
    for name, rule in rules(validation, settings).items():
        best = rule.choose(validation)
        if best is not None:
            chosen_by, threshold = rule.words, best
        elif otherwise is not None:
            threshold = otherwise.threshold
            chosen_by = f"default, {otherwise.words}: validation lacks a class, or shows no skill"
        else:
            continue
        tree[name] = {"chosen_by": chosen_by, **operating_point(threshold, test, settings)}
        if min(counts) < FEW:
            tree[name]["note"] = (
                f"few validation images to choose by: {counts[0]} positive, {counts[1]} negative"
            )
    return tree


def operating_point(threshold: float, test: Side, settings: Settings) -> MetricTree:
    """Return sensitivity, specificity, ppv and npv (and accuracy) of `score` ≥ `threshold`."""
    positive, called = test.positive, test.score >= threshold
    shares = {
        "sensitivity": (called, positive),
        "specificity": (~called, ~positive),
        "ppv": (positive, called),
        "npv": (~positive, ~called),
        "accuracy": (called == positive, np.ones_like(called)),
    }
    tree: MetricTree = {"threshold": threshold}
    for name, (success, among) in shares.items():
        tree[name] = share_figure(success[among], test.groups[among], settings)
    if settings.prevalence is not None:
        tree["at_prevalence"] = at_prevalence(tree, settings.prevalence, settings.confidence)
        both = np.intersect1d(test.groups[positive], test.groups[~positive]).size
        if both:
            tree["at_prevalence"]["note"] = (
                "PPV and NPV at a prevalence: intervals take sensitivity and specificity as"
                f" independent; groups that hold both kinds of images: {both}"
            )
    return tree


def at_prevalence(point: MetricTree, prevalence: float, confidence: float) -> MetricTree:
    """Return ppv and npv of an operating point where the share of positives is `prevalence`.

    By Bayes the odds of a positive call are prevalence / (1 − prevalence) times the likelihood
    ratio, sensitivity / (1 − specificity); the interval is that ratio's (MOVER-R), as if the two
    were independent: groups that hold both kinds of images make it too wide or too narrow.
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
    method = "MOVER-R of the likelihood ratio"
    if right is None or wrong is None:
        return figure(None, no_interval(method, "one class only"), confidence)
    calls = odds * right[0] + wrong[0]
    if calls == 0:
        return figure(None, no_interval(method, "no image is called so"), confidence)
    low, high = (odds * ratio for ratio in ratio_interval(right, wrong))
    top = 1.0 if np.isinf(high) else high / (1 + high)
    return figure(odds * right[0] / calls, Interval(low / (1 + low), top, method), confidence)
