"""Candidate pairs of which one picture lies in the other, by what its regions look like.

The network gives each image a vector of its *whole* and one of each of its *regions*, windows of
fixed places and sizes, so fitted that the region where a photograph lies is near that photograph's
whole. Each image keeps the `nearest` others whose whole is nearest to one of its regions.

Vectors are whole numbers, so that products are exact in float32 whatever the order of summation:
what two images score depends on them alone.

- Up to `EXACT_BELOW` images all regions are compared with all wholes.
- Above, a region is compared with the wholes of its own cell. Cells lie about fixed centres; a
  whole is filed under several, a region under one. Up to `COARSE_BELOW` images a few large cells
  find nearly all that comparing all does; above, many small ones keep the work in bounds.

What was found is remembered from run to run: only what is new is searched, with the same result.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.files import publish

VERSION = "1"  # raise when the same vectors give other neighbours
CENTRES = Path(__file__).parents[1] / "embedding/region_centres.npy"
NEAREST, THRESHOLD = 3, 0.7  # of an image, and their cosine; benchmarks/copies.py
SCALE = 127  # of a vector's length
EXACT_BELOW = 2_000  # images
COARSE_BELOW = 20_000
COARSE = 256  # the first so many centres are those of large cells, the rest those of small ones
LARGE_CELLS, SMALL_CELLS = 16, 8  # that a whole is filed under
COMPARED_AT_ONCE = 2**22  # a region and a whole, any of which may be near
CHUNK = 4096  # images whose cells are looked for at a time

# A neighbour is packed into one number: image (23 bits), how far off (16), the other's row (23).
MOST, FARTHEST = 2**23, 2**16

Codes = NDArray[np.int64]
Vectors = NDArray[np.int8]  # (n, d) or (n, regions, d)


def load_centres() -> Vectors:
    """Return the centres of cells, (c, d), `COARSE` large ones first."""
    return np.asarray(np.load(CENTRES, allow_pickle=False), np.int8)


class Found(NamedTuple):
    """The images that lie in each image, nearest first, and what they were computed from."""

    keys: NDArray[np.bytes_]  # (n,) ascending
    prints: NDArray[np.uint64]  # (n,) fingerprints of the vectors
    codes: Codes  # (e,) ascending: an image, how far off, its neighbour

    def pairs(self) -> NDArray[np.int64]:
        """Return the pairs of rows (m, 2), each once, the smaller row first, in order."""
        image, _, other = _unpack(self.codes)
        codes = np.unique(np.minimum(image, other) * MOST + np.maximum(image, other))
        return np.stack([codes // MOST, codes % MOST], axis=1)


def find_placed(
    keys: list[str],
    wholes: Vectors,
    regions: Vectors,
    centres: Vectors,
    nearest: int = NEAREST,
    threshold: float = THRESHOLD,
    cache: Path | None = None,
) -> Found:
    """Return for each image the `nearest` others that may lie in it, of a cosine of `threshold`.

    `wholes` is (n, d) and `regions` (n, r, d), of length `SCALE`; `keys` are their rows, ascending;
    `centres` (c, d) are those of the cells, `COARSE` large ones first. `cache` is a file of what
    was found before, which is read, if there is one that fits, and brought up to date.
    """
    n = len(keys)
    if n >= MOST:
        raise UserError(f"dedupe: {n} images; search for pictures in pictures numbers {MOST - 1}")
    filed = LARGE_CELLS if n <= COARSE_BELOW else SMALL_CELLS
    centres = centres[:COARSE] if n <= COARSE_BELOW else centres[COARSE:]
    if n <= EXACT_BELOW:
        filed, centres = 1, centres[:1]  # a single cell
    settings = json.dumps([VERSION, nearest, threshold, filed])
    digest = hashlib.sha256(settings.encode() + centres.tobytes()).hexdigest()
    names = np.array(keys, "S")
    prints = _fingerprints(wholes) + 3 * _fingerprints(
        regions.reshape(n, regions.shape[1] * regions.shape[2])
    )
    known = _read_cache(cache, digest) if cache else None
    codes, is_new, to_search = _carry_over(names, prints, known, nearest)
    least = int(np.ceil(threshold * SCALE**2))
    everyone = np.arange(n)
    for asking, asked in [
        (everyone[to_search], everyone),
        (everyone[~to_search], everyone[is_new]),
    ]:
        parts = [codes]
        for image, other, score in _near(wholes, regions, centres, filed, asking, asked, least):
            parts.append(_keep_nearest(_pack(image, score, other), nearest))
        codes = _keep_nearest(np.concatenate(parts), nearest)
    found = Found(names, prints, codes)
    if cache and to_search.any():
        with publish(cache) as handle:
            np.savez(handle, digest=np.array(digest), allow_pickle=False, **found._asdict())
    return found


def _near(
    wholes: Vectors,
    regions: Vectors,
    centres: Vectors,
    filed: int,
    asking: NDArray[np.int64],
    asked: NDArray[np.int64],
    least: int,
) -> Iterator[tuple[Codes, Codes, Codes]]:
    """Yield (image, other, inner product) where one of `asking` has a region near one of `asked`.

    An image and its neighbour may come more than once.
    """
    if not len(asking) or not len(asked):
        return
    count = regions.shape[1]
    cells = _nearest_centres(wholes[asked], centres, filed)
    members_of = np.argsort(cells, axis=None, kind="stable") // cells.shape[1]
    to_ask = np.concatenate(
        [
            _nearest_centres(regions[rows].reshape(-1, regions.shape[2]), centres, 1)[:, 0]
            for rows in np.array_split(asking, len(asking) // CHUNK + 1)
        ]
    )
    questions_of = np.argsort(to_ask, kind="stable")
    held = np.bincount(cells.ravel(), minlength=len(centres))
    wanted = np.bincount(to_ask, minlength=len(centres))
    for members, questions in zip(
        np.split(members_of, np.cumsum(held)[:-1]),
        np.split(questions_of, np.cumsum(wanted)[:-1]),
        strict=True,
    ):
        if not len(members) or not len(questions):
            continue
        rows = asked[members]
        index = faiss.IndexFlatIP(wholes.shape[1])
        index.add(wholes[rows].astype(np.float32))
        step = max(1, COMPARED_AT_ONCE // len(rows))
        for start in range(0, len(questions), step):
            place, region = np.divmod(questions[start : start + step], count)
            image = asking[place]
            # Just below, since faiss leaves out what is exactly as near as asked for.
            ends, score, near = index.range_search(
                regions[image, region].astype(np.float32), least - 0.5
            )
            image, other = np.repeat(image, np.diff(ends.astype(np.int64))), rows[near]
            others = image != other
            yield image[others], other[others], score[others].astype(np.int64)


def _nearest_centres(vectors: Vectors, centres: Vectors, count: int) -> NDArray[np.int64]:
    """Return (n, count): the nearest rows of `centres`, those equally near by position."""
    spare = min(len(centres), count + 4)
    near, rows = faiss.knn(
        vectors.astype(np.float32), centres.astype(np.float32), spare,
        metric=faiss.METRIC_INNER_PRODUCT,
    )  # fmt: skip
    order = np.lexsort((rows, -near), axis=1)[:, :count]
    return np.asarray(np.take_along_axis(rows, order, axis=1))


def _pack(image: Codes, score: Codes, other: Codes) -> Codes:
    return (image * FARTHEST + FARTHEST // 2 - score) * MOST + other


def _unpack(codes: Codes) -> tuple[Codes, Codes, Codes]:
    """Return the image, how far off, and the other of each."""
    return codes // (FARTHEST * MOST), codes // MOST % FARTHEST, codes % MOST


def _keep_nearest(codes: Codes, nearest: int) -> Codes:
    """Return the nearest of each image, every other once, in order."""
    codes = np.sort(codes)
    image, _, other = _unpack(codes)
    first = np.unique(image * MOST + other, return_index=True)[1]  # of each pair the nearest
    first.sort()
    codes, image = codes[first], image[first]
    return codes[np.arange(len(codes)) - np.searchsorted(image, image) < nearest]


def _carry_over(
    keys: NDArray[np.bytes_], prints: NDArray[np.uint64], known: Found | None, nearest: int
) -> tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what is known of these images, which are new, and which must ask all others.

    Those are the new ones, and those of which a full list has lost a member.
    """
    n = len(keys)
    if known is None or not len(known.keys):
        return np.zeros(0, np.int64), np.ones(n, bool), np.ones(n, bool)
    before = np.searchsorted(known.keys, keys).clip(max=len(known.keys) - 1)
    stays = (known.keys[before] == keys) & (known.prints[before] == prints)
    now = np.full(len(known.keys), -1)
    now[before[stays]] = np.flatnonzero(stays)
    image, away, other = _unpack(known.codes)
    full = np.bincount(image, minlength=len(known.keys))[before] >= nearest
    image, other = now[image], now[other]
    lost = np.bincount(image[(image >= 0) & (other < 0)], minlength=n) > 0
    whole = (image >= 0) & (other >= 0)
    carried = (image[whole] * FARTHEST + away[whole]) * MOST + other[whole]
    return np.sort(carried), ~stays, ~stays | (full & lost)


def _fingerprints(vectors: Vectors) -> NDArray[np.uint64]:
    """Return 64 bits per row, which tell a changed one."""
    odd = np.random.default_rng(0).integers(2**63, size=vectors.shape[1], dtype=np.uint64) | 1
    parts = [
        vectors[start : start + CHUNK].astype(np.uint64) @ odd
        for start in range(0, len(vectors), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _read_cache(path: Path, digest: str) -> Found | None:
    """Return what a former run found, None where it searched otherwise or the file is broken."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            if str(stored["digest"]) == digest:
                return Found(*(stored[name] for name in Found._fields))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    return None
