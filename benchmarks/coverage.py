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
from scipy.special import ndtr, ndtri

from stages.lib.randomness import generator
from stages.statistics.agreement import (
    Statistic,
    weighted_mean,
    weighted_plcc,
    weighted_rmse,
    weighted_srcc,
)
from stages.statistics.classes import brier
from stages.statistics.emd import emd_r1, emd_r2
from stages.statistics.figures import figure
from stages.statistics.intervals import Interval, auc_interval, cluster_bootstrap, share_interval
from stages.statistics.operating import at_prevalence

Reals = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]
Case = Callable[[np.random.Generator, int], tuple[float, Interval]]  # (truth, interval)

LEVEL = 0.95
PROMISED_LOW, PROMISED_HIGH = 0.94, 0.96
SEED = 17
PER_GROUP = 4
POSITIVES = 0.4  # share of them
RHO = np.sqrt(0.5)  # correlation of predicted and true scores
WITHIN = 0.5  # correlation of images of one group


# What is drawn -------------------------------------------------------------------------------


def codes_of(groups: int, sizes: str = "equal") -> Codes:
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


def share(images: int, low: float, high: float, rng: np.random.Generator, _: int) -> tuple:
    """Draw the share itself, too: at one share coverage jumps up and down with n."""
    truth = rng.uniform(low, high)
    return truth, share_interval(rng.random(images) < truth, np.arange(images), LEVEL)


def clustered_share(
    codes: Codes, low: float, high: float, rng: np.random.Generator, _: int
) -> tuple:
    truth = rng.uniform(low, high)
    return truth, share_interval(effects(rng, codes) < ndtri(truth), codes, LEVEL)


def predictive_value(
    name: str, images: int, prevalence: float, rng: np.random.Generator, _: int
) -> tuple:
    """Draw sensitivity and specificity from 0.7 to 0.95, and `images` of each class."""
    hit, rest = rng.uniform(0.7, 0.95, size=2)
    point = {}
    for key, truth in (("sensitivity", hit), ("specificity", rest)):
        right = rng.random(images) < truth
        interval = share_interval(right, np.arange(images), LEVEL)
        point[key] = figure(float(right.mean()), interval, LEVEL)
    found = at_prevalence(point, prevalence, LEVEL)[name]
    if name == "ppv":
        truth = prevalence * hit / (prevalence * hit + (1 - prevalence) * (1 - rest))
    else:
        truth = (1 - prevalence) * rest / ((1 - prevalence) * rest + prevalence * (1 - hit))
    return truth, Interval(*found["ci95"].values(), found["method"], found.get("note"))


# Areas ---------------------------------------------------------------------------------------


def auc(positives: int, negatives: int, truth: float, rng: np.random.Generator, _: int) -> tuple:
    positive = np.arange(positives + negatives) < positives
    score = rng.normal(size=positive.size) + shift_of(truth) * positive
    return truth, auc_interval(positive, score, np.arange(positive.size), LEVEL)


def clustered_auc(
    codes: Codes, truth: float, whole: bool, rng: np.random.Generator, _: int
) -> tuple:
    positive = some_positive(rng, codes, whole)
    score = effects(rng, codes) + shift_of(truth) * positive
    return truth, auc_interval(positive, score, codes, LEVEL)


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


def bootstrap(
    draw: Callable[[np.random.Generator, Codes], tuple[float, Statistic]],
    codes: Codes,
    rng: np.random.Generator,
    resamples: int,
) -> tuple:
    truth, statistic = draw(rng, codes)
    return truth, cluster_bootstrap(statistic, codes, LEVEL, resamples, rng)


BOOTSTRAPPED = {
    "mean": mean, "Brier": brier_score, "EMD r=1": partial(emd, emd_r1),
    "EMD r=2": partial(emd, emd_r2), "RMSE": rmse, "RMSE of a third": range_rmse,
    "PLCC 0.71": plcc, "SRCC 0.69": srcc,
}  # fmt: skip


def promised() -> Iterator[tuple[str, Case]]:
    """Yield the cases in which theory promises the nominal coverage, quick ones first."""
    for n in (40, 100, 400):
        yield f"share 0.05 to 0.95, {n} images", partial(share, n, 0.05, 0.95)
    for n in (20, 50, 200):
        yield f"share 0.50 to 0.95, {n} groups", partial(clustered_share, codes_of(n), 0.5, 0.95)
    yield "share, 50 uneven groups", partial(clustered_share, codes_of(50, "uneven"), 0.5, 0.95)
    for name in ("ppv", "npv"):
        for n in (100, 400):
            yield f"{name} at prevalence 0.05, {n} each", partial(predictive_value, name, n, 0.05)
    for truth in (0.8, 0.95):
        for m, n in ((50, 50), (100, 100), (100, 900), (500, 500)):
            yield f"AUC {truth:.2f}, {m} and {n} images", partial(auc, m, n, truth)
    for truth in (0.8, 0.95):
        for n in (20, 50, 200):
            for whole in (False, True):
                name = f"AUC {truth:.2f}, {n} groups{', each of one class' if whole else ''}"
                yield name, partial(clustered_auc, codes_of(n), truth, whole)
    for name, draw in BOOTSTRAPPED.items():
        for n in (20, 50):
            yield f"{name}, {n} groups", partial(bootstrap, draw, codes_of(n))
    for name in ("mean", "Brier", "SRCC 0.69"):
        yield f"{name}, 100 images", partial(bootstrap, BOOTSTRAPPED[name], np.arange(100))


def not_promised() -> Iterator[tuple[str, Case]]:
    """Yield what is too small, too near the end of its scale, too uneven or too heavy."""
    for truth in (0.5, 0.9, 0.98):
        yield f"share {truth:.2f}, 20 images", partial(share, 20, truth, truth)
        yield f"share {truth:.2f}, 100 images", partial(share, 100, truth, truth)
    for n in (3, 5, 8, 12):
        yield f"share 0.50 to 0.95, {n} groups", partial(clustered_share, codes_of(n), 0.5, 0.95)
    for name in ("ppv", "npv"):
        yield f"{name} at prevalence 0.05, 20 each", partial(predictive_value, name, 20, 0.05)
    for truth in (0.8, 0.95, 0.98, 0.995):
        for m, n in ((5, 50), (10, 10), (10, 100), (20, 40)):
            yield f"AUC {truth:.3g}, {m} and {n} images", partial(auc, m, n, truth)
    for truth in (0.98, 0.995):
        for m, n in ((100, 100), (100, 900), (500, 500)):
            yield f"AUC {truth:.3g}, {m} and {n} images", partial(auc, m, n, truth)
        yield f"AUC {truth:.3g}, 50 groups", partial(clustered_auc, codes_of(50), truth, False)
    for n in (3, 5, 8, 12):
        yield f"AUC 0.8, {n} groups", partial(clustered_auc, codes_of(n), 0.8, False)
    uneven = codes_of(50, "uneven")
    yield "AUC 0.8, 50 uneven groups", partial(clustered_auc, uneven, 0.8, False)
    for name in ("mean", "RMSE", "SRCC 0.69"):
        for n in (3, 5, 8, 12):
            yield f"{name}, {n} groups", partial(bootstrap, BOOTSTRAPPED[name], codes_of(n))
        yield f"{name}, 50 uneven groups", partial(bootstrap, BOOTSTRAPPED[name], uneven)
    for n in (20, 50):
        yield f"mean of heavy tails, {n} groups", partial(bootstrap, heavy_mean, codes_of(n))


CASES: dict[str, Case] = dict([*promised(), *not_promised()])
PROMISED = {name for name, _ in promised()}


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
    verdict = (
        "too low" if covered < PROMISED_LOW else "too high" if covered > PROMISED_HIGH else "yes"
    )
    return (
        f"{name:42s}{covered:9.2%}{error:8.2%}{below:8.2%}{above:8.2%}{np.mean(widths):9.4f}"
        f"{draws - len(widths):7d}  {verdict}"
    )


def main(draws: int, resamples: int, only: str, workers: int) -> None:
    """Print a line per case, each as soon as it and those before it are done."""
    head = (
        f"{'':42s}{'covered':>9s}{'± s.e.':>8s}{'below':>8s}{'above':>8s}{'width':>9s}{'none':>7s}"
    )
    parts = {
        "Theory promises 95 %": [name for name in CASES if name in PROMISED],
        "Theory does not": [name for name in CASES if name not in PROMISED],
    }
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for title, names in parts.items():
            chosen = [name for name in names if only in name]
            if chosen:
                print(f"{title}, {draws} draws:\n{head}  94 to 96 %", flush=True)
            for line in pool.map(partial(measure, draws=draws, resamples=resamples), chosen):
                print(line, flush=True)


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of each process
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--only", default="")
    parser.add_argument("--workers", type=int, default=1)
    main(**vars(parser.parse_args()))
