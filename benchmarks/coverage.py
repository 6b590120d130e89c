"""Count how often intervals contain the truth, on drawn data whose truth is known.

    python -m benchmarks.coverage [--draws 10000] [--resamples 2000] [--only NAME] [--workers 1]

Nominal is 95 %. Printed are the coverage with its own standard error, how often the truth lay
below and above the interval, the mean width, how many draws gave no interval, and whether the
coverage lies within 94 to 96 %. First come the cases in which theory promises it, then those in
which it does not; last, how often tests call a difference that is not there, 5 % being allowed.
The stage's own functions are measured. Truths are in closed form.

Images of one group share a random effect of the same size as their own, as patches of one
photograph do; four images per group unless said otherwise. A case's draws depend on its name
alone: the same draws give the same lines, whichever cases run and on however many processes.
`--only` runs the cases whose name contains NAME.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy import integrate
from scipy.special import ndtr, ndtri

from darkroom.core.randomness import generator
from darkroom.evaluation.agreement import (
    weighted_plcc,
    weighted_rmse,
    weighted_srcc,
)
from darkroom.evaluation.bootstrap import cluster_bootstrap
from darkroom.evaluation.classification import brier
from darkroom.evaluation.delong import auc_interval
from darkroom.evaluation.emd import emd_r1, emd_r2
from darkroom.evaluation.intervals import Interval, proportion_interval
from darkroom.evaluation.metrics import BinaryScores, with_interval
from darkroom.evaluation.operating_points import at_prevalence
from darkroom.evaluation.paired import (
    accuracy_difference_interval,
    delong_interval,
    delong_test,
    holm,
    mcnemar,
    paired_bootstrap,
)
from darkroom.evaluation.roc import weighted_partial_auc
from darkroom.evaluation.roc_band import sensitivity_band
from darkroom.evaluation.statistic import Flags, Reals, Statistic, weighted_mean

Codes = NDArray[np.int64]
Case = Callable[[np.random.Generator, int], tuple[float, Interval]]  # (truth, interval)
Test = Callable[[np.random.Generator, int], float]  # the p-value of a difference that is not there

LEVEL = 0.95
LEAST, MOST = 0.94, 0.96  # that may be covered
WIDTHS = (9, 8, 8, 8, 9, 7)  # of the table's columns
SEED = 17
PER_GROUP = 4
POSITIVES = 0.4  # share of them
RHO = np.sqrt(0.5)  # correlation of predicted and true scores
WITHIN = 0.5  # correlation of images of one group


# What is drawn -------------------------------------------------------------------------------


def group_codes(groups: int, sizes: str = "equal") -> Codes:
    """Return each image's group; `uneven` ones have 1 to 32 images, half of all in a tenth."""
    if sizes == "equal":
        return np.repeat(np.arange(groups), PER_GROUP)
    return np.repeat(np.arange(groups), np.tile([32, 8, 5, 4, 4, 3, 2, 2, 1, 1], groups // 10))


def effects(rng: np.random.Generator, codes: Codes) -> Reals:
    """Return standard normal values with correlation `WITHIN` within each group."""
    shared = rng.normal(size=codes[-1] + 1)[codes]
    return np.sqrt(WITHIN) * shared + np.sqrt(1 - WITHIN) * rng.normal(size=codes.size)


def some_positive(rng: np.random.Generator, codes: Codes, whole: bool) -> Flags:
    """Return which images are positive: each by chance, or `whole` groups of one class."""
    drawn = rng.random(codes[-1] + 1 if whole else codes.size) < POSITIVES
    return drawn[codes] if whole else drawn


def shift_of(auc: float) -> float:
    """Return how far apart two standard normal distributions lie that give this AUC."""
    return float(np.sqrt(2) * ndtri(auc))


# Shares and what follows from them -----------------------------------------------------------


def share(
    images: int, low: float, high: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    """Draw the share itself, too: at one share coverage jumps up and down with n."""
    truth = rng.uniform(low, high)
    return truth, proportion_interval(rng.random(images) < truth, np.arange(images), LEVEL)


def clustered_share(
    codes: Codes, low: float, high: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    truth = rng.uniform(low, high)
    return truth, proportion_interval(effects(rng, codes) < ndtri(truth), codes, LEVEL)


def predictive_value(
    name: str, images: int, prevalence: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    """Draw sensitivity and specificity from 0.7 to 0.95, and `images` of each class."""
    hit, rest = rng.uniform(0.7, 0.95, size=2)
    point = {}
    for key, truth in (("sensitivity", hit), ("specificity", rest)):
        right = rng.random(images) < truth
        interval = proportion_interval(right, np.arange(images), LEVEL)
        point[key] = with_interval(float(right.mean()), interval, LEVEL)
    found = at_prevalence(point, prevalence, LEVEL)[name]
    if name == "ppv":
        truth = prevalence * hit / (prevalence * hit + (1 - prevalence) * (1 - rest))
    else:
        truth = (1 - prevalence) * rest / ((1 - prevalence) * rest + prevalence * (1 - hit))
    return truth, Interval(*found["ci95"].values(), found["method"], found.get("note"))


# Areas ---------------------------------------------------------------------------------------


def auc(
    positives: int, negatives: int, truth: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    positive = np.arange(positives + negatives) < positives
    score = rng.normal(size=positive.size) + shift_of(truth) * positive
    return truth, auc_interval(positive, score, np.arange(positive.size), LEVEL)


def clustered_auc(
    codes: Codes, truth: float, whole: bool, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    positive = some_positive(rng, codes, whole)
    score = effects(rng, codes) + shift_of(truth) * positive
    return truth, auc_interval(positive, score, codes, LEVEL)


def band(
    codes: Codes, auc: float, at: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    """Read the band at the false positive rate `at`."""
    return _band(some_positive(rng, codes, False), codes, auc, at, rng)


def unequal_band(
    positives: int, negatives: int, auc: float, at: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    codes = np.arange(positives + negatives)
    return _band(codes < positives, codes, auc, at, rng)


def _band(
    positive: Flags, codes: Codes, auc: float, at: float, rng: np.random.Generator
) -> tuple[float, Interval]:
    shift = shift_of(auc)
    task = BinaryScores(positive, effects(rng, codes) + shift * positive, codes)
    low, high = sensitivity_band(task, np.array([at]), LEVEL)
    return float(ndtr(shift + ndtri(at))), Interval(float(low[0]), float(high[0]), "band")


# What is bootstrapped: functions that return the truth and the statistic ----------------------


def mean(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    return 0.0, weighted_mean(effects(rng, codes))


def heavy_mean(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    """Draw groups from a t distribution with 3 degrees of freedom."""
    shared = rng.standard_t(3, size=codes[-1] + 1)[codes]
    return 0.0, weighted_mean(shared + rng.normal(size=codes.size))


def rmse(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    return 1.0, weighted_rmse(effects(rng, codes), np.zeros(codes.size))


def range_rmse(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    """Images whose true score lies in the lowest third of the scale alone weigh."""
    inside = rng.random(codes.size) < 1 / 3
    square = weighted_mean(effects(rng, codes) ** 2)
    return 1.0, lambda weights: np.sqrt(square(weights * inside))


def plcc(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    x, y = effects(rng, codes), effects(rng, codes)
    return float(RHO), weighted_plcc(x, RHO * x + np.sqrt(1 - RHO**2) * y)


def srcc(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    """Of a normal pair; Kruskal 1958, JASA 53:814."""
    x, y = effects(rng, codes), effects(rng, codes)
    truth = 6 / np.pi * np.arcsin(RHO / 2)
    return float(truth), weighted_srcc(x, RHO * x + np.sqrt(1 - RHO**2) * y)


def emd(distance: Callable, rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    """Predictions that mix the true histogram with another, by a share u² with u uniform."""
    target, other = np.array([[0.1, 0.2, 0.4, 0.2, 0.1], [0.0, 0.1, 0.1, 0.3, 0.5]])
    mixed = ndtr(effects(rng, codes))[:, None] ** 2  # (n, 1), 1/3 on average
    each = distance(np.tile(target, (codes.size, 1)), (1 - mixed) * target + mixed * other)
    return float(distance(target[None], other[None])[0] / 3), weighted_mean(each)


def brier_score(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    """Calibrated probabilities, uniform: the mean of p (1 − p) is 1/6."""
    p = ndtr(effects(rng, codes))
    happened = rng.random(codes.size) < p
    target, probability = np.column_stack([happened, ~happened]), np.column_stack([p, 1 - p])
    return 1 / 6, weighted_mean(brier(target, probability))


def partial_auc(rng: np.random.Generator, codes: Codes) -> tuple[float, Statistic]:
    """Draw scores whose AUC is 0.8, and look up to a false positive rate of 0.1."""
    positive, shift, below = some_positive(rng, codes, False), shift_of(0.8), 0.1
    area, _ = integrate.quad(lambda rate: ndtr(shift + ndtri(rate)), 0, below)
    truth = (1 + (area - below**2 / 2) / (below - below**2 / 2)) / 2
    return truth, weighted_partial_auc(positive, effects(rng, codes) + shift * positive, below)


def bootstrap(
    draw: Callable[[np.random.Generator, Codes], tuple[float, Statistic]],
    codes: Codes,
    rng: np.random.Generator,
    resamples: int,
) -> tuple[float, Interval]:
    truth, statistic = draw(rng, codes)
    return truth, cluster_bootstrap(statistic, codes, LEVEL, resamples, rng)


BOOTSTRAPPED = {
    "mean": mean, "Brier": brier_score, "EMD r=1": partial(emd, emd_r1),
    "EMD r=2": partial(emd, emd_r2), "RMSE": rmse, "RMSE of a third": range_rmse,
    "PLCC 0.71": plcc, "SRCC 0.69": srcc, "partial AUC": partial_auc,
}  # fmt: skip


# Differences of two models on the same images ------------------------------------------------


def two_scores(
    rng: np.random.Generator, positive: Flags, a: float, b: float
) -> tuple[Reals, Reals]:
    """Return scores of two models with these AUCs that see half of the same in an image."""
    seen = rng.normal(size=positive.size)
    own = rng.normal(size=(2, positive.size))
    scores = (seen + own) / np.sqrt(2) + np.array([[shift_of(a)], [shift_of(b)]]) * positive
    return scores[0], scores[1]


def auc_difference(
    positives: int, negatives: int, a: float, b: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    positive = np.arange(positives + negatives) < positives
    return b - a, delong_interval(positive, *two_scores(rng, positive, a, b), LEVEL)


def two_right(rng: np.random.Generator, codes: Codes, a: float, b: float) -> tuple[Flags, Flags]:
    """Return which images two models of these accuracies get right."""
    first = effects(rng, codes)
    second = (first + effects(rng, codes)) / np.sqrt(2)
    return first < ndtri(a), second < ndtri(b)


def accuracy_difference(
    images: int, a: float, b: float, rng: np.random.Generator, _: int
) -> tuple[float, Interval]:
    return b - a, accuracy_difference_interval(*two_right(rng, np.arange(images), a, b), LEVEL)


def srcc_pair(rng: np.random.Generator, codes: Codes) -> tuple[Statistic, Statistic]:
    """Return the SRCC of two equally good models with the truth."""
    target = effects(rng, codes)
    noise = [effects(rng, codes) for _ in range(2)]
    one, other = (weighted_srcc(target, (target + each) / np.sqrt(2)) for each in noise)
    return one, other


def srcc_difference(
    codes: Codes, rng: np.random.Generator, resamples: int
) -> tuple[float, Interval]:
    pair = srcc_pair(rng, codes)
    return 0.0, paired_bootstrap(*pair, codes, LEVEL, resamples, rng)[0]


def rmse_difference(
    codes: Codes, rng: np.random.Generator, resamples: int
) -> tuple[float, Interval]:
    """Draw errors of spread 1 and 1.2."""
    zero, one, other = np.zeros(codes.size), effects(rng, codes), effects(rng, codes)
    pair = weighted_rmse(one, zero), weighted_rmse(0.6 * one + np.sqrt(1.08) * other, zero)
    return float(np.sqrt(1.44) - 1), paired_bootstrap(*pair, codes, LEVEL, resamples, rng)[0]


def p_of_accuracies(images: int, rng: np.random.Generator, _: int) -> float:
    return mcnemar(*two_right(rng, np.arange(images), 0.85, 0.85))


def p_of_aucs(images: int, rng: np.random.Generator, _: int) -> float:
    positive = np.arange(2 * images) < images
    p = delong_test(positive, *two_scores(rng, positive, 0.8, 0.8))
    return 1.0 if p is None else p


def p_of_srccs(codes: Codes, rng: np.random.Generator, resamples: int) -> float:
    p = paired_bootstrap(*srcc_pair(rng, codes), codes, LEVEL, resamples, rng)[1]
    return 1.0 if p is None else p


def p_of_a_family(images: int, rng: np.random.Generator, resamples: int) -> float:
    """Return the smallest of five adjusted p-values: three AUCs and two accuracies, none better."""
    ps = [p_of_aucs(images, rng, resamples) for _ in range(3)]
    return min(holm([*ps, *(p_of_accuracies(images, rng, resamples) for _ in range(2))]))


def promised() -> Iterator[tuple[str, Case]]:
    """Yield the cases in which theory promises the nominal coverage, quick ones first."""
    for n in (40, 100, 400):
        yield f"share 0.05 to 0.95, {n} images", partial(share, n, 0.05, 0.95)
    for n in (20, 50, 200):
        yield f"share 0.50 to 0.95, {n} groups", partial(clustered_share, group_codes(n), 0.5, 0.95)
    for name in ("ppv", "npv"):
        for n in (100, 400):
            yield f"{name} at prevalence 0.05, {n} each", partial(predictive_value, name, n, 0.05)
    for truth in (0.8, 0.95):
        for m, n in ((50, 50), (100, 100), (100, 900), (500, 500)):
            yield f"AUC {truth:.2f}, {m} and {n} images", partial(auc, m, n, truth)
    for truth in (0.8, 0.95):
        for n in (20, 50, 200):
            yield (
                f"AUC {truth:.2f}, {n} groups",
                partial(clustered_auc, group_codes(n), truth, False),
            )
        for n in (50, 200):  # 20 and 80 of them positive
            name = f"AUC {truth:.2f}, {n} groups, each of one class"
            yield name, partial(clustered_auc, group_codes(n), truth, True)
    for truth in (0.8, 0.95):
        for n, kind in ((20, "groups"), (50, "groups"), (100, "images"), (400, "images")):
            codes = group_codes(n) if kind == "groups" else np.arange(n)
            for at in (0.1, 0.3):
                name = f"ROC of AUC {truth:.2f} at {at}, {n} {kind}"
                yield name, partial(band, codes, truth, at)
    for m, n in ((50, 50), (100, 100), (100, 900)):
        yield f"AUC 0.80 to 0.85, {m} and {n} images", partial(auc_difference, m, n, 0.8, 0.85)
    for n in (100, 400):
        yield f"accuracy 0.80 to 0.85, {n} images", partial(accuracy_difference, n, 0.8, 0.85)
    for name, draw in BOOTSTRAPPED.items():
        n = 25 if draw is range_rmse else 20  # about 20 of 25 groups have an image in the range
        yield f"{name}, {n} groups", partial(bootstrap, draw, group_codes(n))
    for name in ("mean", "RMSE", "PLCC 0.71", "SRCC 0.69", "partial AUC"):
        yield f"{name}, 50 groups", partial(bootstrap, BOOTSTRAPPED[name], group_codes(50))
    yield "difference of two SRCC, 20 groups", partial(srcc_difference, group_codes(20))
    for n in (20, 50):
        yield f"difference of two RMSE, {n} groups", partial(rmse_difference, group_codes(n))
    for name in ("mean", "Brier", "SRCC 0.69"):
        yield f"{name}, 100 images", partial(bootstrap, BOOTSTRAPPED[name], np.arange(100))


def not_promised() -> Iterator[tuple[str, Case]]:
    """Yield what is too small, too near the end of its scale, too uneven or too heavy."""
    for truth in (0.5, 0.9, 0.98):
        yield f"share {truth:.2f}, 20 images", partial(share, 20, truth, truth)
        yield f"share {truth:.2f}, 100 images", partial(share, 100, truth, truth)
    for n in (3, 5, 8, 12):
        yield f"share 0.50 to 0.95, {n} groups", partial(clustered_share, group_codes(n), 0.5, 0.95)
    for name in ("ppv", "npv"):
        yield f"{name} at prevalence 0.05, 20 each", partial(predictive_value, name, 20, 0.05)
    for truth in (0.8, 0.95, 0.98, 0.995):
        for m, n in ((5, 50), (10, 10), (10, 100), (20, 40)):
            yield f"AUC {truth:.3g}, {m} and {n} images", partial(auc, m, n, truth)
    for truth in (0.98, 0.995):
        for m, n in ((100, 100), (100, 900), (500, 500)):
            yield f"AUC {truth:.3g}, {m} and {n} images", partial(auc, m, n, truth)
        yield f"AUC {truth:.3g}, 50 groups", partial(clustered_auc, group_codes(50), truth, False)
    for truth in (0.8, 0.95):
        name = f"AUC {truth:.2f}, 20 groups, each of one class"  # 8 of them positive
        yield name, partial(clustered_auc, group_codes(20), truth, True)
    for m, n in ((200, 20), (100, 30), (50, 50)):
        for truth in (0.8, 0.95):
            for at in (0.05, 0.3):
                name = f"ROC of AUC {truth:.2f} at {at}, {m} and {n} images"
                yield name, partial(unequal_band, m, n, truth, at)
    for n in (3, 5, 8, 12):
        yield f"AUC 0.8, {n} groups", partial(clustered_auc, group_codes(n), 0.8, False)
    uneven = group_codes(50, "uneven")
    yield "share 0.50 to 0.95, 50 uneven groups", partial(clustered_share, uneven, 0.5, 0.95)
    yield "AUC 0.8, 50 uneven groups", partial(clustered_auc, uneven, 0.8, False)
    for name in ("mean", "RMSE", "SRCC 0.69"):
        for n in (3, 5, 8, 12):
            yield f"{name}, {n} groups", partial(bootstrap, BOOTSTRAPPED[name], group_codes(n))
    yield "RMSE of a third, 20 groups", partial(bootstrap, range_rmse, group_codes(20))
    for name in ("mean", "RMSE"):
        yield f"{name}, 50 uneven groups", partial(bootstrap, BOOTSTRAPPED[name], uneven)
    for n in (20, 50):
        yield f"mean of heavy tails, {n} groups", partial(bootstrap, heavy_mean, group_codes(n))


CASES: dict[str, Case] = dict([*promised(), *not_promised()])
PROMISED = [name for name, _ in promised()]
TESTS: dict[str, Test] = {
    **{f"McNemar, {n} images": partial(p_of_accuracies, n) for n in (50, 200)},
    **{f"paired DeLong, {n} and {n} images": partial(p_of_aucs, n) for n in (50, 200)},
    "paired bootstrap of SRCC, 20 groups": partial(p_of_srccs, group_codes(20)),
    "one of five after Holm, 200 images": partial(p_of_a_family, 200),
}


def measure(name: str, draws: int, resamples: int) -> str:
    """Return a case's line of the table."""
    rng, case = generator(SEED, "coverage", name), CASES[name]
    missed, widths = [], []
    for _ in range(draws):
        truth, interval = case(rng, resamples)
        if interval.low is not None and interval.high is not None:
            missed.append((truth < interval.low, truth > interval.high))
            widths.append(interval.high - interval.low)
    below, above = np.mean(missed, axis=0)
    covered = 1 - below - above
    error = np.sqrt(covered * (1 - covered) / len(widths))
    verdict = "too low" if covered < LEAST else "too high" if covered > MOST else "yes"
    return (
        f"{name:42s}{covered:9.2%}{error:8.2%}{below:8.2%}{above:8.2%}{np.mean(widths):9.4f}"
        f"{draws - len(widths):7d}  {verdict}"
    )


def count_alarms(name: str, draws: int, resamples: int) -> str:
    """Return a test's line: the share of draws in which it finds what is not there."""
    rng, test = generator(SEED, "coverage", name), TESTS[name]
    alarms = np.mean([test(rng, resamples) <= 1 - LEVEL for _ in range(draws)])
    error = np.sqrt(alarms * (1 - alarms) / draws)
    verdict = "yes" if alarms - 2 * error <= 1 - LEVEL else "too many"
    return f"{name:42s}{alarms:9.2%}{error:8.2%}  {verdict}"


def main(draws: int, resamples: int, only: str, workers: int) -> None:
    """Print a line per case, each as soon as it and those before it are done."""
    columns = ("covered", "± s.e.", "below", "above", "width", "none")
    head = "".join(f"{word:>{width}s}" for word, width in zip(columns, WIDTHS, strict=True))
    parts: list[tuple[str, list[str], Callable]] = [
        (f"{'Theory promises 95 %':42s}{head}  94 to 96 %", [*PROMISED], measure),
        (
            f"{'Theory does not':42s}{head}  94 to 96 %",
            [n for n in CASES if n not in PROMISED],
            measure,
        ),
        (
            f"{'Tests, nothing to find':42s}{'alarms':>9s}{'± s.e.':>8s}  at most 5 %",
            [*TESTS],
            count_alarms,
        ),
    ]
    if not any(only in name for name in [*CASES, *TESTS]):
        raise SystemExit(f"error: no case has {only!r} in its name; without --only all are run")
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for head, names, line_of in parts:
            chosen = [name for name in names if only in name]
            if chosen:
                print(head, flush=True)
            for line in pool.map(partial(line_of, draws=draws, resamples=resamples), chosen):
                print(line, flush=True)


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of each process
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--only", default="")
    parser.add_argument("--workers", type=int, default=1)
    main(**vars(parser.parse_args()))
