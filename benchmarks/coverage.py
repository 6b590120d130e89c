"""Count how often intervals contain the truth, on drawn data whose truth is known.

    python -m benchmarks.coverage [--draws 300] [--resamples 500]

Nominal is 95 %. Printed are coverage, its own standard error, and the mean width. Images of one
group share a random effect of the same size as their own, as patches of one photograph do; ten
images per group. The seed is fixed: the same draws give the same lines.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stages.statistics.agreement import weighted_mean, weighted_srcc
from stages.statistics.intervals import Interval, auc_interval, cluster_bootstrap, share_interval

Case = Callable[[np.random.Generator, int], tuple[float, Interval]]  # (truth, interval)

LEVEL = 0.95
PER_GROUP = 10
SHIFT = 1.2  # of the positives' scores, in standard deviations


def effects(rng: np.random.Generator, groups: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return standard normal values with correlation 1/2 within each group, and the groups."""
    codes = np.repeat(np.arange(groups), PER_GROUP)
    shared = rng.normal(size=groups)[codes]
    return (shared + rng.normal(size=codes.size)) / np.sqrt(2), codes


def delong_auc(images: int, shift: float) -> Case:
    def draw(rng: np.random.Generator, resamples: int) -> tuple[float, Interval]:
        positive = np.arange(images) < images // 3
        score = rng.normal(size=images) + shift * positive
        interval = auc_interval(positive, score, np.arange(images), LEVEL, resamples, rng)
        return float(stats.norm.cdf(shift / np.sqrt(2))), interval

    return draw


def wilson_share(images: int, share: float) -> Case:
    def draw(rng: np.random.Generator, resamples: int) -> tuple[float, Interval]:
        return share, share_interval(rng.random(images) < share, np.arange(images), LEVEL)

    return draw


def clustered_share(groups: int, share: float) -> Case:
    def draw(rng: np.random.Generator, resamples: int) -> tuple[float, Interval]:
        values, codes = effects(rng, groups)
        return share, share_interval(values < stats.norm.ppf(share), codes, LEVEL)

    return draw


def clustered_auc(groups: int) -> Case:
    def draw(rng: np.random.Generator, resamples: int) -> tuple[float, Interval]:
        values, codes = effects(rng, groups)
        positive = rng.random(codes.size) < 0.4
        interval = auc_interval(positive, values + SHIFT * positive, codes, LEVEL, resamples, rng)
        return float(stats.norm.cdf(SHIFT / np.sqrt(2))), interval

    return draw


def clustered_mean(groups: int) -> Case:
    def draw(rng: np.random.Generator, resamples: int) -> tuple[float, Interval]:
        values, codes = effects(rng, groups)
        return 0.0, cluster_bootstrap(weighted_mean(values), codes, LEVEL, resamples, rng)

    return draw


def clustered_srcc(groups: int) -> Case:
    def draw(rng: np.random.Generator, resamples: int) -> tuple[float, Interval]:
        (x, codes), (y, _) = effects(rng, groups), effects(rng, groups)
        statistic = weighted_srcc(x, (x + y) / np.sqrt(2))
        truth = 6 / np.pi * np.arcsin(np.sqrt(0.5) / 2)  # of a normal pair with r = sqrt(1/2)
        return float(truth), cluster_bootstrap(statistic, codes, LEVEL, resamples, rng)

    return draw


CASES: dict[str, Case] = {
    "DeLong, AUC 0.80, 20 positives of 60": delong_auc(60, SHIFT),
    "DeLong, AUC 0.80, 100 of 300": delong_auc(300, SHIFT),
    "DeLong, AUC 0.98, 20 of 60": delong_auc(60, 2.9),
    "Wilson, 0.90 of 40": wilson_share(40, 0.9),
    "Wilson, 0.50 of 200": wilson_share(200, 0.5),
    **{f"Wilson, 0.85, {n} groups": clustered_share(n, 0.85) for n in (8, 20, 50)},
    **{f"bootstrap, AUC 0.80, {n} groups": clustered_auc(n) for n in (8, 20, 50)},
    **{f"bootstrap, mean, {n} groups": clustered_mean(n) for n in (3, 8, 20, 50)},
    **{f"bootstrap, SRCC 0.69, {n} groups": clustered_srcc(n) for n in (8, 20, 50)},
}


def main(draws: int, resamples: int) -> None:
    """Print one line per case."""
    print(f"{'case':40s}{'covered':>9s}{'± s.e.':>8s}{'width':>8s}{'none':>6s}")
    for number, (name, case) in enumerate(CASES.items()):
        rng = np.random.default_rng([17, number])
        drawn = [case(rng, resamples) for _ in range(draws)]
        known = [
            (truth, interval.low, interval.high)
            for truth, interval in drawn
            if interval.low is not None and interval.high is not None
        ]
        covered = np.mean([low <= truth <= high for truth, low, high in known])
        error = np.sqrt(covered * (1 - covered) / len(known))
        width = np.mean([high - low for _, low, high in known])
        print(
            f"{name:40s}{covered:9.1%}{error:8.1%}{width:8.3f}{draws - len(known):6d}", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--resamples", type=int, default=500)
    main(**vars(parser.parse_args()))
