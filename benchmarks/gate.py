"""Count how often `darkroom compare` turns a check red: by mistake, and for models that are worse.

    python -m benchmarks.gate [--draws 500] [--images 240] [--resamples 1000]

Drawn are the ratings of two models, on images in groups that share a part of the error. Both err by
1 score on average, or the second by `WORSE`. Printed are the shares of comparisons, with their
standard errors, that find any of the seven metrics significantly worse, or better. With two equal
models both are mistakes, and at 95 % confidence either may be made in 2.5 % of draws at most.
"""

import argparse

import numpy as np
import pandas as pd

from darkroom.comparison.differences import Comparison, compare
from darkroom.comparison.pairs import pair
from darkroom.comparison.revisions import Revision, RevisionParams
from darkroom.core.randomness import generator

SCORES = np.arange(1.0, 11.0)
ERROR, SHARED = 1.0, 0.6  # of a model, in scores; and what of it a group has in common
WORSE = 1.3
GROUPS = (10, 20, 60, 240)


def histograms(means):
    bins = np.exp(-((SCORES - means[:, None]) ** 2) / 2)
    return bins / bins.sum(axis=1, keepdims=True)


def revision(name, rng, target, groups, error, resamples):
    shared = rng.normal(0, SHARED * error, groups.max() + 1)[groups]
    own = rng.normal(0, np.sqrt(1 - SHARED**2) * error, len(groups))
    sides = {"target_": histograms(target), "": histograms(target + shared + own)}
    bins = {f"{s}bin_{k}": b[:, k - 1] for s, b in sides.items() for k in range(1, 11)}
    keys = [f"{number:032x}" for number in range(len(groups))]
    test = pd.DataFrame(
        {"key": keys, "split": "test", "split_group": groups.astype(str)}
        | {"target_mean": sides["target_"] @ SCORES, "predicted_mean": sides[""] @ SCORES}
        | bins
    )
    params = RevisionParams.model_validate(
        {
            "seed": int(rng.integers(2**31)),
            "train": {"scale": {"low": 1.0, "high": 10.0, "bins": 10}},
            "evaluate": {"confidence": 0.95, "bootstrap": resamples},
        }
    )
    return Revision(name, "rating", test, test[["key", "split", "split_group"]], params, 5.0, None)


def compare_drawn(draw, images, count, error, resamples) -> Comparison:
    rng = generator(draw, "gate", count, f"{error}")
    groups = np.arange(images) % count
    target = rng.uniform(2, 9, images)
    base = revision("base", rng, target, groups, ERROR, resamples)
    head = revision("head", rng, target, groups, error, resamples)
    return compare(base, head, pair(base, head))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--resamples", type=int, default=1000)
    given = parser.parse_args()
    print(f"{given.images} images, {given.draws} draws")
    print("models             groups  called worse   called better")
    for name, error in (("equally good", ERROR), (f"second errs by {WORSE}", WORSE)):
        for count in (each for each in GROUPS if each <= given.images):
            found = [
                compare_drawn(draw, given.images, count, error, given.resamples)
                for draw in range(given.draws)
            ]
            cells = []
            for verdict in ("worse", "better"):
                share = np.mean([bool(each.having(verdict)) for each in found])
                cells.append(f"{share:.3f} ± {np.sqrt(share * (1 - share) / given.draws):.3f}")
            print(f"{name:18} {count:6}  {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
