"""Operating points: chosen on validation, evaluated on test, and what they mean at a prevalence."""

from typing import NamedTuple

import numpy as np

from darkroom.core.files import MetricTree
from darkroom.evaluation import metrics, thresholds
from darkroom.evaluation.intervals import Interval, no_interval, ratio_interval
from darkroom.evaluation.metrics import BinaryScores, Settings

MIN_IMAGES = 20  # of positives and of negatives: of fewer each moves a rate by over 5 points


class DefaultThreshold(NamedTuple):
    """The threshold where validation cannot choose one."""

    threshold: float
    description: str


def choose_thresholds(
    validation: BinaryScores, settings: Settings
) -> dict[str, tuple[str, float | None]]:
    """Return, by operating point, its rule and the threshold, None where it cannot be chosen."""
    positive, score, _ = validation
    wanted, costs = settings.specificity, settings.costs
    chosen = {
        "closest_to_corner": (
            "least distance to the corner (0, 1) on validation",
            thresholds.closest_to_corner(positive, score),
        ),
        "youden": (
            "greatest sum of sensitivity and specificity on validation",
            thresholds.youden(positive, score),
        ),
        metrics.metric_key(f"specificity_{100 * wanted:g}"): (
            f"specificity of at least {wanted:g} on validation",
            thresholds.at_specificity(positive, score, wanted),
        ),
    }
    if costs is not None:
        observed = float(positive.mean()) if positive.size else 0.0
        prevalence = observed if settings.prevalence is None else settings.prevalence
        origin = "that of validation" if settings.prevalence is None else "evaluate.prevalence"
        chosen["least_cost"] = (
            f"least cost on validation: {costs.false_positive:g} per false positive,"
            f" {costs.false_negative:g} per false negative, at a prevalence of {prevalence:.3g},"
            f" {origin}",
            thresholds.least_cost(
                positive, score, costs.false_positive, costs.false_negative, prevalence
            ),
        )
    return chosen


def operating_points(
    test: BinaryScores,
    validation: BinaryScores,
    default: DefaultThreshold | None,
    settings: Settings,
) -> MetricTree:
    """Return each rule's operating point; without a default those alone that can be chosen."""
    positives = int(validation.positive.sum())
    counts = positives, validation.positive.size - positives
    tree: MetricTree = {}
    for name, (chosen_by, threshold) in choose_thresholds(validation, settings).items():
        if threshold is None:
            if default is None:
                continue
            threshold, reason = default
            chosen_by = f"default, {reason}: validation lacks a class, or shows no skill"
        tree[name] = {"chosen_by": chosen_by, **operating_point(threshold, test, settings)}
        if min(counts) < MIN_IMAGES:
            tree[name]["note"] = (
                f"few validation images to choose by: {counts[0]} positive, {counts[1]} negative"
            )
    return tree


def operating_point(threshold: float, test: BinaryScores, settings: Settings) -> MetricTree:
    """Return sensitivity, specificity, ppv and npv (and accuracy) of `score` ≥ `threshold`."""
    positive, predicted = test.positive, test.score >= threshold
    proportions = {
        "sensitivity": (predicted, positive),
        "specificity": (~predicted, ~positive),
        "ppv": (positive, predicted),
        "npv": (~positive, ~predicted),
        "accuracy": (predicted == positive, np.ones_like(predicted)),
    }
    tree: MetricTree = {"threshold": threshold}
    for name, (success, among) in proportions.items():
        tree[name] = metrics.proportion_metric(success[among], test.groups[among], settings)
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
    """Return ppv and npv of an operating point at a prevalence of positives.

    By Bayes the odds after a positive prediction are prevalence / (1 − prevalence) times the
    likelihood ratio, sensitivity / (1 − specificity); the interval is that ratio's (MOVER-R), as if
    the two were independent: groups that hold both kinds of images make it too wide or too narrow.
    """
    odds = prevalence / (1 - prevalence)
    tpr, tnr = (_estimate(point[name], confidence) for name in ("sensitivity", "specificity"))
    ppv = _predictive_value(tpr, _complement(tnr), odds, confidence)
    npv = _predictive_value(tnr, _complement(tpr), 1 / odds, confidence)
    return {"prevalence": prevalence, "ppv": ppv, "npv": npv}


Estimate = tuple[float, Interval] | None  # a proportion with its interval


def _estimate(tree: MetricTree, confidence: float) -> Estimate:
    value, low, high = metrics.limits(tree, confidence)
    return None if None in (value, low) else (value, Interval(low, high, tree["method"]))


def _complement(estimate: Estimate) -> Estimate:
    if estimate is None:
        return None
    value, (low, high, method, _) = estimate
    if low is None or high is None:
        return None
    return 1 - value, Interval(1 - high, 1 - low, method)


def _predictive_value(
    true_rate: Estimate, false_rate: Estimate, odds: float, confidence: float
) -> MetricTree:
    """Return odds · true / (odds · true + false); None where nothing is predicted so."""
    method = "MOVER-R of the likelihood ratio"
    if true_rate is None or false_rate is None:
        return metrics.with_interval(None, no_interval(method, "one class only"), confidence)
    predictions = odds * true_rate[0] + false_rate[0]
    if predictions == 0:
        return metrics.with_interval(None, no_interval(method, "no image is called so"), confidence)
    low, high = (odds * ratio for ratio in ratio_interval(true_rate, false_rate))
    top = 1.0 if np.isinf(high) else high / (1 + high)
    value = odds * true_rate[0] / predictions
    return metrics.with_interval(value, Interval(low / (1 + low), top, method), confidence)
