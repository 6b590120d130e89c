"""The difference of each metric between two revisions, and what may be said of it.

| metric | where each group is a single image | otherwise |
|---|---|---|
| AUC of a binary task | paired DeLong | paired cluster bootstrap |
| accuracy | Bonett and Price's interval, exact McNemar | paired cluster bootstrap |
| all others | paired bootstrap over images | paired cluster bootstrap |

p-values are adjusted by Holm over all metrics of the comparison; intervals are each by itself.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from darkroom.comparison.pairs import Pair
from darkroom.comparison.revisions import Revision, RevisionParams
from darkroom.core.randomness import generator
from darkroom.evaluation import agreement, classification, one_class, paired, rating
from darkroom.evaluation.emd import emd_r1, emd_r2
from darkroom.evaluation.intervals import MIN_GROUPS, Interval
from darkroom.evaluation.roc import weighted_auc, weighted_macro_auc
from darkroom.evaluation.statistic import (
    Flags,
    Groups,
    Reals,
    Statistic,
    encode_groups,
    unweighted,
    weighted_mean,
)

Verdict = Literal["better", "worse", "no difference shown", "undefined"]
LOWER_IS_BETTER = {"rmse", "emd_r1", "emd_r2", "brier"}


class Difference(NamedTuple):
    """A metric of both revisions; `interval` and `p` are of HEAD − BASE, None where undefined."""

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
    """Two revisions, the images that both are evaluated on, and how they differ."""

    base: str
    head: str
    pair: Pair
    main: str  # the metric that counts most for the task
    auc_of: str  # which images AUC separates from which
    confidence: float
    differences: list[Difference]

    @property
    def groups(self) -> int:
        """Return how many groups the images are in."""
        return encode_groups(self.pair.groups)[1]

    @property
    def reliable(self) -> bool:
        """Return whether there are groups enough for intervals to cover what they say."""
        return self.groups >= MIN_GROUPS

    def having(self, verdict: Verdict) -> list[str]:
        """Return the metrics with this verdict."""
        return [d.metric for d in self.differences if d.verdict == verdict]


def compare(base: Revision, head: Revision, pair: Pair) -> Comparison:
    """Return every difference; the parameters of intervals are HEAD's."""
    tasks = {"rating": _compare_ratings, "classification": _compare_classes,
             "one_class": _compare_one_class}  # fmt: skip
    main, auc_of, differences = tasks[head.task](head, pair)
    confidence = head.params.evaluate.confidence
    decided = assign_verdicts(differences, confidence)
    return Comparison(base.name, head.name, pair, main, auc_of, confidence, decided)


def assign_verdicts(differences: Sequence[Difference], confidence: float) -> list[Difference]:
    """Adjust the p-values for their number and say which differences are significant."""
    adjusted = iter(paired.holm([d.p for d in differences if d.p is not None]))
    decided = []
    for d in differences:
        if d.p is None or d.value is None:
            decided.append(d)
            continue
        p = next(adjusted)
        better: Verdict = "better" if (d.value > 0) != (d.metric in LOWER_IS_BETTER) else "worse"
        verdict = better if p <= 1 - confidence else "no difference shown"
        decided.append(d._replace(p_holm=p, verdict=verdict))
    return decided


Differences = tuple[str, str, list[Difference]]  # main metric, what AUC is of, differences


def _compare_ratings(head: Revision, pair: Pair) -> Differences:
    cutoff, groups, params = head.cutoff or 0.0, pair.groups, head.params
    tasks = [rating.binary_scores(rows, cutoff) for rows in (pair.base, pair.head)]
    good, predicted = tasks[0].positive, [task.score for task in tasks]
    target = pair.head["target_mean"].to_numpy(np.float64)
    weighted = {"srcc": agreement.weighted_srcc, "plcc": agreement.weighted_plcc}
    if pair.same_units:
        weighted["rmse"] = agreement.weighted_rmse
    differences = [
        _by_bootstrap(name, [statistic(target, p) for p in predicted], groups, params)
        for name, statistic in weighted.items()
    ]
    if pair.same_bins:
        differences += _compare_emd(pair, params)
    differences.append(_compare_auc(good, predicted, groups, params))
    if pair.same_units:
        correct = [(p > cutoff) == good for p in predicted]
        differences.append(_compare_accuracy(correct, groups, params))
    return "srcc", f"mean scores above {cutoff:g} from the rest", differences


def _compare_emd(pair: Pair, params: RevisionParams) -> list[Difference]:
    """Return both EMDs over the rows whose histogram is known."""
    known = rating.has_histogram(pair.head)
    if not known.any():
        return []
    bins = params.train.scale.bins
    target = rating.histograms(pair.head[known], "target_bin", bins)
    predicted = [rating.histograms(rows[known], "bin", bins) for rows in (pair.base, pair.head)]
    differences = []
    for name, distance in (("emd_r1", emd_r1), ("emd_r2", emd_r2)):
        means = [weighted_mean(distance(target, each)) for each in predicted]
        differences.append(_by_bootstrap(name, means, pair.groups[known], params))
    return differences


def _compare_classes(head: Revision, pair: Pair) -> Differences:
    groups, params, both = pair.groups, head.params, (pair.base, pair.head)
    is_class = classification.one_hot(pair.head["target_label"], pair.classes)  # (n, classes)
    probabilities = [classification.probabilities(rows, pair.classes) for rows in both]
    correct = [(rows["predicted_label"] == rows["target_label"]).to_numpy(bool) for rows in both]
    if head.positive_class is not None:
        k = pair.classes.index(head.positive_class)
        auc_of = f"{head.positive_class} from the rest"
        auc = _compare_auc(is_class[:, k], [each[:, k] for each in probabilities], groups, params)
    else:
        auc_of = "each class from the rest, the mean of all"
        statistics = [weighted_macro_auc(is_class, each) for each in probabilities]
        auc = _by_bootstrap("auc", statistics, groups, params)
    brier = [weighted_mean(classification.brier(is_class, each)) for each in probabilities]
    accuracy = _compare_accuracy(correct, groups, params)
    differences = [accuracy, auc, _by_bootstrap("brier", brier, groups, params)]
    return ("auc" if len(pair.classes) == 2 else "accuracy"), auc_of, differences


def _compare_one_class(head: Revision, pair: Pair) -> Differences:
    normal = str(head.params.train.normal_class)
    tasks = [one_class.binary_scores(rows, normal) for rows in (pair.base, pair.head)]
    scores = [task.score for task in tasks]
    auc = _compare_auc(tasks[0].positive, scores, pair.groups, head.params)
    return "auc", f"outliers from {normal}", [auc]


def _by_bootstrap(
    name: str, statistics: Sequence[Statistic], groups: Groups, params: RevisionParams
) -> Difference:
    """Return the difference of any statistic, BASE's first, by the paired bootstrap."""
    a, b = statistics
    base, head = unweighted(a, len(groups)), unweighted(b, len(groups))
    confidence, resamples = params.evaluate.confidence, params.evaluate.bootstrap
    rng = generator(params.seed, "compare", name)
    interval, p = paired.paired_bootstrap(a, b, groups, confidence, resamples, rng)
    return Difference(name, base, head, interval, None if None in (base, head) else p)


def _compare_auc(
    positive: Flags, scores: Sequence[Reals], groups: Groups, params: RevisionParams
) -> Difference:
    """Return the difference of the AUC: by DeLong where groups are single images."""
    statistics = [weighted_auc(positive, score) for score in scores]
    if encode_groups(groups)[1] < len(groups):
        return _by_bootstrap("auc", statistics, groups, params)
    base, head = (unweighted(statistic, len(groups)) for statistic in statistics)
    a, b = scores
    interval = paired.delong_interval(positive, a, b, params.evaluate.confidence)
    return Difference("auc", base, head, interval, paired.delong_test(positive, a, b))


def _compare_accuracy(
    correct: Sequence[Flags], groups: Groups, params: RevisionParams
) -> Difference:
    """Return the difference of accuracy: by McNemar where groups are single images."""
    if encode_groups(groups)[1] < len(groups):
        statistics = [weighted_mean(each.astype(np.float64)) for each in correct]
        return _by_bootstrap("accuracy", statistics, groups, params)
    a, b = correct
    interval = paired.accuracy_difference_interval(a, b, params.evaluate.confidence)
    return Difference("accuracy", float(a.mean()), float(b.mean()), interval, paired.mcnemar(a, b))
