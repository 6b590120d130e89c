"""Which threshold to act on: chosen from the ROC curve of the validation split.

Each function takes `positive` (n,) and `score` (n,) and returns a threshold at or above which an
image is called positive, or None where these images cannot choose. Candidates are the scores seen,
and one above them all, which calls nothing. Of equally good ones the highest wins.
"""

import numpy as np

from darkroom.evaluation.roc import RocCurve, roc_curve
from darkroom.evaluation.statistic import Flags, Reals


def youden(positive: Flags, score: Reals) -> float | None:
    """Return the threshold of greatest sensitivity + specificity − 1; None if none beats chance.

    Source: Youden 1950, Cancer 3:32.

    >>> youden(np.array([False, False, True]), np.array([0.1, 0.4, 0.7]))
    0.7
    """
    curve = roc_curve(positive, score)
    return None if curve is None else _best_above_chance(curve, _youden_index(curve))


def closest_to_corner(positive: Flags, score: Reals) -> float | None:
    """Return the threshold of least (1 − sensitivity)² + (1 − specificity)²; None as `youden`.

    It balances the two rates more than Youden's index does, and has no meaning in costs: Perkins
    and Schisterman 2006, American Journal of Epidemiology 163:670.

    >>> closest_to_corner(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.5, 0.9]))
    0.9
    """
    curve = roc_curve(positive, score)
    if curve is None:
        return None
    distance = curve.false_positive_rate**2 + (1 - curve.true_positive_rate) ** 2
    return _best_above_chance(curve, -distance)


def at_specificity(positive: Flags, score: Reals, specificity: float) -> float | None:
    """Return the smallest threshold of at least this specificity; needs negatives alone.

    >>> at_specificity(np.array([False, False, True]), np.array([0.1, 0.4, 0.7]), 0.5)
    0.4
    """
    negatives = np.sort(score[~positive])
    if not negatives.size:
        return None
    thresholds = np.append(np.unique(score), above(score))
    true_negatives = np.searchsorted(negatives, thresholds, side="left")  # true negatives
    # the tolerance: 0.9 of 10 images is 9 of them, whatever 9 / 10 is in binary
    enough = true_negatives >= specificity * negatives.size * (1 - 1e-12)
    return float(thresholds[np.argmax(enough)])


def least_cost(
    positive: Flags, score: Reals, false_positive: float, false_negative: float, prevalence: float
) -> float | None:
    """Return the threshold of least expected cost per image at this share of positives.

    The cost is prevalence · (1 − sensitivity) · `false_negative` + (1 − prevalence) ·
    (1 − specificity) · `false_positive`. Source: Metz 1978, Seminars in Nuclear Medicine 8:283.

    >>> flags, scores = np.array([False, True, False, True]), np.array([0.1, 0.4, 0.5, 0.9])
    >>> least_cost(flags, scores, 1, 9, 0.5), least_cost(flags, scores, 9, 1, 0.5)
    (0.4, 0.9)
    """
    curve = roc_curve(positive, score)
    if curve is None:
        return None
    of_false_negatives = prevalence * false_negative * (1 - curve.true_positive_rate)
    of_false_positives = (1 - prevalence) * false_positive * curve.false_positive_rate
    cost = of_false_negatives + of_false_positives
    best = int(np.argmax(cost <= cost.min() * (1 + 1e-12)))
    return float(curve.threshold[best]) if best else above(score)


def _youden_index(curve: RocCurve) -> Reals:
    return curve.true_positive_rate - curve.false_positive_rate


def _best_above_chance(curve: RocCurve, objective: Reals) -> float | None:
    best = int(np.argmax(objective))
    return float(curve.threshold[best]) if _youden_index(curve)[best] > 0 else None


def above(score: Reals) -> float:
    """Return the threshold just above all of these scores."""
    return float(np.nextafter(score.max(), np.inf))
