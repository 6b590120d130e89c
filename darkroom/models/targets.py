"""What a model is to predict: one distribution per image, over score bins or over classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.params.scale import Scale

if TYPE_CHECKING:
    import pandas as pd

Distributions = NDArray[np.float32]  # (n, bins or classes), rows sum to 1

DEFAULT_SPREAD = 0.155  # of the scale's length: AVA's raters differ by about 1.4 on 1 to 10
TIE = 1e-4  # of a bin: a mean between two bins belongs to the upper one, in float32 too
MIN_SPREAD_IN_BINS = 0.2  # a narrower Gaussian cannot be distinguished on the bins


def from_ratings(ratings: Sequence[Sequence[int]], scale: Scale) -> Distributions:
    """Return the share of votes per bin. Raises UserError for other bins, no votes, or below 0."""
    votes = [np.asarray(row, np.float64) for row in ratings]
    wrong = next((row for row in votes if row.shape != (scale.bins,)), None)
    if wrong is not None:
        raise UserError(
            f"ratings: expected {scale.bins} bins (train.scale.bins), got {wrong.size} counts;"
            " set train.scale in params.yaml to the scale of your ratings"
        )
    counts = np.array(votes).reshape(-1, scale.bins)
    whole = (np.isfinite(counts) & (counts >= 0)).all(axis=1) & (counts.sum(axis=1) > 0)
    if not whole.all():
        got = ", ".join(f"{count:g}" for count in counts[~whole][0])
        raise UserError(
            "ratings: expected counts of votes, none below 0 and at least one per image; got"
            f" {got} ({int((~whole).sum())} of {len(counts)} images); correct the label table, or"
            " leave the image's cells empty to keep it unlabelled"
        )
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float32)


def from_means(
    means: NDArray[np.float64], stds: NDArray[np.float64], scale: Scale
) -> Distributions:
    """Return discretised Gaussians over the bins that have exactly these means.

    p_i ∝ exp(−(s_i − m)² / 2σ² + λ s_i) with λ chosen by bisection so that Σ p_i s_i = m: of all
    distributions with this mean it is the nearest, in relative entropy, to the Gaussian cut to the
    scale. `stds` (n,) may hold NaN: then σ is `DEFAULT_SPREAD` of the scale. A mean at an end of
    the scale gives that bin alone. Raises UserError for a mean outside the scale, or a std below 0.

    >>> from_means(np.array([3.0]), np.array([0.0]), Scale(low=1, high=5, bins=5)).round(2)
    array([[0., 0., 1., 0., 0.]], dtype=float32)
    """
    _check(means, stds, scale)
    length = scale.high - scale.low
    grid = np.linspace(0, 1, scale.bins)  # bins and means on [0, 1]
    mean = np.clip((means - scale.low) / length, 0, 1)[:, None]  # (n, 1)
    sigma = np.where(np.isnan(stds), DEFAULT_SPREAD * length, stds)[:, None] / length
    sigma = np.maximum(sigma, MIN_SPREAD_IN_BINS / (scale.bins - 1))
    gaussian = -((grid - mean) ** 2) / (2 * sigma**2)  # (n, bins)
    most = (1 / sigma**2 + 80) * (scale.bins - 1)  # puts all weight into the last bin
    low, high = -most, most.copy()
    for _ in range(100):
        tilt = (low + high) / 2
        above = _softmax(gaussian + tilt * grid) @ grid > mean[:, 0]
        high = np.where(above[:, None], tilt, high)
        low = np.where(above[:, None], low, tilt)
    return _softmax(gaussian + (low + high) / 2 * grid).astype(np.float32)


def one_hot(labels: Sequence[str], classes: Sequence[str]) -> Distributions:
    """Return 1 for each image's class, 0 elsewhere. Raises UserError for a class not in training.

    >>> one_hot(["cat", "dog"], ("cat", "dog"))
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise UserError(
            f"labels: expected one of the training classes {list(classes)}, got {unknown};"
            " a class needs images in the train split: lower split.test and split.validation, or"
            " correct the labels"
        )
    position = {name: i for i, name in enumerate(classes)}
    return np.eye(len(classes), dtype=np.float32)[[position[label] for label in labels]]


def distributions(rows: "pd.DataFrame", scale: Scale) -> Distributions:
    """Return the targets of rows with `ratings`, or else `mean` and perhaps `std`."""
    targets = np.zeros((len(rows), scale.bins), np.float32)
    counted = rows["ratings"].notna().to_numpy(bool)
    others = rows.loc[~counted, ["mean", "std"]]
    means, stds = (column.to_numpy(np.float64, na_value=np.nan) for _, column in others.items())
    targets[counted] = from_ratings(list(rows["ratings"][counted]), scale)
    targets[~counted] = from_means(means, stds, scale)
    return targets


def strata(targets: Distributions) -> NDArray[np.int64]:
    """Return each image's class, or the score bin nearest to its mean: (n, k) → (n,).

    >>> strata(np.array([[0, 0, 1], [0.5, 0.5, 0]], np.float32))
    array([2, 1])
    """
    means = targets.astype(np.float64) @ np.arange(targets.shape[1])
    return np.asarray(np.floor(means + 0.5 + TIE), np.int64)


def balanced_weights(strata: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Return the weight of each of `count` strata: n / (k · n_c), 0 for one without an image.

    n images lie in k strata, n_c of them in stratum c: the mean over images is 1. The rule is
    scikit-learn's `class_weight="balanced"`, after King and Zeng 2001, "Logistic regression in
    rare events data".

    >>> balanced_weights(np.array([0, 0, 0, 2]), 3)
    array([0.6666667, 0.       , 2.       ], dtype=float32)
    """
    sizes = np.bincount(strata, minlength=count)
    shares = len(strata) / (np.count_nonzero(sizes) * np.maximum(sizes, 1))
    return np.asarray(np.where(sizes > 0, shares, 0), np.float32)


def _check(means: NDArray[np.float64], stds: NDArray[np.float64], scale: Scale) -> None:
    outside = ~((means >= scale.low) & (means <= scale.high))  # true for NaN too
    if outside.any():
        raise UserError(
            f"mean: expected scores from {scale.low:g} to {scale.high:g} (train.scale), got"
            f" {means[outside][0]:g} ({int(outside.sum())} of {len(means)} images); set train.scale"
            " in params.yaml to the scale of your labels"
        )
    if (stds < 0).any():
        raise UserError(
            f"std: expected 0 or more, got {stds[stds < 0][0]:g} ({int((stds < 0).sum())} of"
            f" {len(stds)} images); correct the label table"
        )


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
