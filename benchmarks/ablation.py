"""What augmentation is worth where images are few: the same model with it and without.

    python -m benchmarks.ablation [--data ROOT] [--each 20] [--seeds 10] [--target 400]

ROOT (default: the working folder) is a folder in which the pipeline has run as far as `split` with
`train.task: classification`; its params.yaml is used. For each seed so many images
of each class are drawn from the train split, and the model is fitted twice: on these, and with new
images beside them, as `stages.augment` makes them, until `--target` train. The validation split
stops both, the test split, the same for all, evaluates both. Prints the accuracy on the test split
for each seed, and the mean difference with Student's interval over seeds; it holds for draws of
train images and seeds, on this test split.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks.folds import Augmented, read_rows
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from darkroom.core.randomness import generator
from darkroom.filters.preprocess import read_steps
from darkroom.models.stored_images import StoredImages
from darkroom.models.training.examples import Examples, make_targets
from darkroom.models.training.fit import fit_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--target", type=int, default=400)
    given = parser.parse_args()
    logging.disable(logging.INFO)
    params = load_params(given.data, Params)
    rows = read_rows(given.data, "classification").sort_values("key", ignore_index=True)
    counts = rows.groupby(["split", "label"]).size()
    print("\n".join(f"{split:11} {label:14} {count}" for (split, label), count in counts.items()))
    found = []
    for seed in range(given.seeds):
        train = draw(rows[rows["split"] == "train"], given.each, seed)
        with_it, without = (
            accuracy(given.data, train, rows, params.model_copy(update={"seed": seed}), target)
            for target in (given.target, 0)
        )
        found.append((with_it, without))
        print(f"seed {seed}: without {without:.4f}, with augmentation {with_it:.4f}", flush=True)
    report(np.array(found))


def draw(train: pd.DataFrame, each: int, seed: int) -> pd.DataFrame:
    """Return `each` images of every class."""
    rng = generator(seed, "ablation")
    places = [rng.permutation(len(part))[:each] for _, part in train.groupby("label")]
    parts = [part for _, part in train.groupby("label")]
    return pd.concat([part.iloc[np.sort(p)] for part, p in zip(parts, places, strict=True)])


def accuracy(
    root: Path, train: pd.DataFrame, rows: pd.DataFrame, params: Params, target: int
) -> float:
    """Fit on `train`, and return the share of the test split that is right."""
    classes = tuple(sorted(rows["label"].unique()))
    steps = read_steps(params.train.preprocess, "params.yaml: train.preprocess")
    parts = [rows[rows["split"] == name] for name in ("validation", "test")]
    more = Augmented(StoredImages(root, train, max_pixels=10**8), train, params, target)
    validation, test = (
        Examples(
            StoredImages(root, part, steps, max_pixels=10**8),
            make_targets(part, classes, params.train),
        )
        for part in parts
    )
    wanted = make_targets(train, classes, params.train)[more.parents]
    fitted = fit_model(Examples(more, wanted), validation, params.train, params.seed)
    predicted = fitted.predict(test.images[i] for i in range(len(test.images)))
    return float((predicted.argmax(axis=1) == test.targets.argmax(axis=1)).mean())


def report(found: NDArray[np.float64]) -> None:
    """Print the mean of both, and of their difference with its interval."""
    change = found[:, 0] - found[:, 1]
    error = stats.sem(change)
    low, high = (
        stats.t.interval(0.95, len(change) - 1, change.mean(), error) if error else [change[0]] * 2
    )
    print(f"without {found[:, 1].mean():.4f}, with {found[:, 0].mean():.4f} (means)")
    print(f"difference {change.mean():+.4f}, 95 % {low:+.4f} to {high:+.4f}, {len(change)} seeds")


if __name__ == "__main__":
    main()
