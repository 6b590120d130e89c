"""The mean of many images and the directions in which they differ most, as small pictures."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from darkroom.images.decode import Pixels
from darkroom.report.image_store import data_uri

COMPONENTS = 4
MIN_IMAGES = 3  # of two, the first component is their difference and says nothing
MIN_SHARE = 1e-9  # share of the variance below which a component is rounding


class Component(NamedTuple):
    """A principal component as a picture, and the share of the variance that it explains."""

    picture: str  # a data: URI
    share: float


class Eigenimages(NamedTuple):
    """The mean image and the first components of `images` images; none of fewer than MIN_IMAGES."""

    images: int
    mean: str | None
    components: tuple[Component, ...]


def describe(squares: NDArray[np.uint8]) -> Eigenimages:
    """Return mean and principal components of images (n, side, side, 3)."""
    if len(squares) < MIN_IMAGES:
        return Eigenimages(len(squares), None, ())
    mean, components = principal_components(squares.reshape(len(squares), -1).astype(np.float64))
    shape = squares.shape[1:]
    parts = tuple(
        Component(data_uri(to_levels(direction).reshape(shape)), share)
        for direction, share in components
    )
    return Eigenimages(len(squares), data_uri(mean.round().astype(np.uint8).reshape(shape)), parts)


def principal_components(
    rows: NDArray[np.float64],
) -> tuple[NDArray[np.float64], list[tuple[NDArray[np.float64], float]]]:
    """Return the mean of rows (n, d) and the first components (d,) with their share of variance.

    The components are those of the singular value decomposition, found through the n × n products
    of the rows, since n is far below d (Turk & Pentland, Eigenfaces for Recognition, 1991). One
    thread, since sums depend on their number; a component's sign is free, and is that which
    brightens more than it darkens.

    >>> _, components = principal_components(np.array([[0.0, 0], [4, 0], [2, 1]]))
    >>> [(abs(direction.round(3)).tolist(), round(share, 3)) for direction, share in components]
    [([1.0, 0.0], 0.923), ([0.0, 1.0], 0.077)]
    """
    mean = rows.mean(axis=0)
    centred = rows - mean
    with threadpool_limits(1):
        values, vectors = np.linalg.eigh(centred @ centred.T)  # ascending
        total = float(values.clip(min=0).sum())
        components = []
        for index in np.argsort(-values, kind="stable")[:COMPONENTS]:
            if values[index] > MIN_SHARE * total:
                direction = vectors[:, index] @ centred / np.sqrt(values[index])
                components.append((fix_sign(direction), float(values[index] / total)))
    return mean, components


def fix_sign(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a direction or its opposite: that whose sum is above 0, else whose peak is."""
    weight = float(direction.sum())
    if abs(weight) < 1e-6 * float(np.abs(direction).sum()):
        weight = float(direction[np.argmax(np.abs(direction).round(9))])
    return -direction if weight < 0 else direction


def to_levels(direction: NDArray[np.float64]) -> Pixels:
    """Return levels in which grey, 128, is no change and the strongest change is 1 or 255."""
    peak = float(np.abs(direction).max())
    return np.asarray((128 + 127 * direction / (peak or 1.0)).round(), np.uint8)
