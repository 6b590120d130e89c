"""Find transformed copies among photographs that the network was never fitted on.

    python -m benchmarks.copies FOLDER_OR_SHARDS [--network FILE] [--limit N]

Of each photograph held out by `stages.embedding.fit` there are six files: itself, a crop of 87.5 %,
both flips, a rotation by 25° and a square resize. Every pair of two photographs counts as a
mistake, so that real duplicates in the collection cost precision: pairs of different photographs
whose *originals* verify as copies are left out, and their number is printed. Printed are average
precision over all pairs, recall at precision 0.999, the true copies among the 5 and 20 nearest,
and the hard set by transformation.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.embedding.fit import is_held_out, read_photographs
from stages.embedding.network import BUNDLED, Network
from stages.lib.pixels import DecodeError, Pixels, decode, resize
from stages.neighbours.verify import compare, prepare

Transform = Callable[[Pixels], Pixels]


def crop(image: Pixels, share: float = 0.875) -> Pixels:
    height, width = image.shape[:2]
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return image[top : height - top, left : width - left]


def rotate(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 25, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height)), np.uint8)


def square(image: Pixels) -> Pixels:
    return resize(image, min(image.shape[:2]), min(image.shape[:2]))


def overlay(image: Pixels) -> Pixels:
    image = image.copy()
    height, width = image.shape[:2]
    cv2.circle(image, (width * 2 // 3, height // 3), min(height, width) // 6, (230, 40, 60), -1)
    return image


def caption(image: Pixels) -> Pixels:
    image = image.copy()
    height, width = image.shape[:2]
    image[-height // 5 :] = 255
    where = (4, height - height // 12)
    cv2.putText(image, "WHEN YOU", where, cv2.FONT_HERSHEY_SIMPLEX, width / 250, (0, 0, 0), 2)
    return image


def screenshot(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    sides = (height // 4, height // 6, width // 12, width // 12)
    framed = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=(245, 245, 245))
    return np.asarray(framed, np.uint8)


def half_crop(image: Pixels) -> Pixels:
    return crop(image, 0.5**0.5)


def filtered(image: Pixels) -> Pixels:
    return np.clip(image * np.array([1.15, 0.95, 0.65]) + 12, 0, 255).astype(np.uint8)


def jpeg10(image: Pixels) -> Pixels:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


EASY: dict[str, Transform] = {
    "original": lambda image: image,
    "crop_875": crop,
    "horizontal_flip": lambda image: image[:, ::-1],
    "vertical_flip": lambda image: image[::-1],
    "rotation_25": rotate,
    "square_resize": square,
}
HARD: dict[str, Transform] = {
    "overlay": overlay,
    "caption": caption,
    "screenshot": screenshot,
    "crop_50": half_crop,
    "colour_filter": filtered,
    "jpeg_10": jpeg10,
    "mirrored_crop": lambda image: half_crop(image)[:, ::-1],
}


def held_out(source: Path, limit: int) -> list[Pixels]:
    images = []
    for key, content in read_photographs(source):
        if is_held_out(key) and len(images) < limit:
            try:
                images.append(decode(content))
            except DecodeError:
                continue
    return images


def without_duplicates(images: list[Pixels], network: Network) -> tuple[list[Pixels], int]:
    """Leave out photographs of which another one is a verified copy (real duplicates)."""
    vectors = embed(network, images)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    doubtful = np.argwhere(np.triu(similarity) > 0.75)
    dropped = set()
    for i, j in doubtful:
        found = compare(prepare(images[i]), prepare(images[j]), whole=True)
        if found.structure > 0.8 or found.inliers >= 25 or similarity[i, j] > 0.97:
            dropped.add(int(j))
    return [image for i, image in enumerate(images) if i not in dropped], len(dropped)


def embed(network: Network, images: list[Pixels]) -> NDArray[np.float32]:
    size = network.size_px
    return network.embed([resize(image, size, size) for image in images])


def pair_scores(vectors: NDArray[np.float32], n: int) -> tuple[NDArray, NDArray]:
    """Return (scores of true pairs, sorted scores of false pairs above 0.2) over all pairs."""
    photograph = np.arange(len(vectors)) % n
    true, false = [], []
    for start in range(0, len(vectors), 512):
        rows = np.arange(start, min(start + 512, len(vectors)))
        similarity = vectors[rows] @ vectors.T
        upper = rows[:, None] < np.arange(len(vectors))[None]
        same = photograph[rows][:, None] == photograph[None]
        true.append(similarity[upper & same])
        false.append(similarity[upper & ~same & (similarity > 0.2)])
    return np.concatenate(true), np.sort(np.concatenate(false))


def average_precision(true: NDArray, false: NDArray) -> float:
    ordered = np.sort(true)[::-1]
    above = len(false) - np.searchsorted(false, ordered, side="left")
    rank = np.arange(1, len(ordered) + 1)
    return float((rank / (rank + above)).mean())


def recall_at(true: NDArray, false: NDArray, precision: float) -> tuple[float, float]:
    """Return the best (recall, threshold) at which precision holds."""
    ordered = np.sort(true)[::-1]
    above = len(false) - np.searchsorted(false, ordered, side="left")
    rank = np.arange(1, len(ordered) + 1)
    good = np.flatnonzero(rank / (rank + above) >= precision)
    return (0.0, 1.0) if not len(good) else (float(rank[good[-1]] / len(true)), ordered[good[-1]])


def copies_among_nearest(vectors: NDArray[np.float32], n: int, nearest: int) -> float:
    photograph = np.arange(len(vectors)) % n
    found = 0
    for start in range(0, len(vectors), 512):
        similarity = vectors[start : start + 512] @ vectors.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -2
        best = np.argpartition(-similarity, nearest, axis=1)[:, :nearest]
        found += (photograph[best] == photograph[start : start + 512][:, None]).sum()
    return found / (len(vectors) * (len(vectors) // n - 1))


def report(name: str, vectors: NDArray[np.float32], n: int) -> None:
    true, false = pair_scores(vectors, n)
    at999, threshold = recall_at(true, false, 0.999)
    print(
        f"{name}: AP {average_precision(true, false):.4f}, recall {at999:.4f} at precision 0.999 "
        f"(similarity {threshold:.3f}), among 5 / 20 nearest "
        f"{copies_among_nearest(vectors, n, 5):.4f} / {copies_among_nearest(vectors, n, 20):.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--network", type=Path, default=BUNDLED)
    parser.add_argument("--limit", type=int, default=1750)
    given = parser.parse_args()
    network = Network(given.network)
    images, dropped = without_duplicates(held_out(given.source, given.limit), network)
    n = len(images)
    print(f"{n} held-out photographs ({dropped} real duplicates left out)")
    originals = embed(network, images)
    easy = [embed(network, [make(image) for image in images]) for make in EASY.values()]
    report("transformed set", np.concatenate(easy), n)
    for name, make in HARD.items():
        copies = embed(network, [np.ascontiguousarray(make(image)) for image in images])
        report(f"  hard, {name}", np.concatenate([originals, copies]), n)


if __name__ == "__main__":
    main()
