"""Candidate pairs: which images are near enough to be looked at, through faiss.

Nearness is the *normalised* similarity (`darkroom.dedupe.normalise`). It is an inner product of
d + 2 numbers, (x, -w·b, 1) with (y, 1, -w·b), so that faiss searches within a radius of it.

- Up to `EXACT_BELOW` images every pair is compared: n²/2 times d operations.
- Above, two images are compared if they share one of their `CELLS` nearest background photographs.
  Normalisation looks for these anyway, and they depend on the image alone: no index is trained, and
  an image that comes or goes moves no other. So 1 % of all pairs are compared, and over 99 % of the
  copies (`python -m benchmarks.search`).

Which pairs are compared and what they score depends on the two images alone; each image then keeps
its nearest ones, ties going by key. Hence neighbours are remembered from run to run, and only what
is new is searched, with the same result as from scratch.

Memory for n images of d dimensions: 4·n·d bytes of embeddings, 80·n for keys and cells, 20 for each
neighbour that is found, and 1 GB to work in.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from darkroom.core.errors import UserError
from darkroom.core.files import publish
from darkroom.core.progress import Progress
from darkroom.dedupe.normalise import (
    DECIMALS,
    WEIGHT,
    cosine,
    mean_of_nearest,
    nearest_background,
    normalise,
)
from darkroom.workers.cores import available_cores

VERSION = "1"  # raise when the same embeddings give other neighbours
EXACT_BELOW = 50_000  # images; benchmarks/search.py
CELLS = 8  # background photographs that an image is filed under; benchmarks/search.py
SLACK = 1e-4  # float32 sums err less; what passes is scored again in float64
COMPARED_AT_ONCE = 2**23  # pairs in one call of faiss, any of which may be a hit
AT_ONCE = 16  # calls of faiss between looks at what is held: 1 GB at the very most
HELD_AT_ONCE = 2**22  # hits that are held before all but the nearest are dropped
CHUNK = 2048  # pairs that are scored at a time

# A neighbour is packed into one number, so that sorting is quick: the image that it belongs to (18
# bits, within its block), the distance (22), the neighbour's own row (24).
BLOCK, FARTHEST, MOST, IMAGE_BIT = 2**18, 2**22, 2**24, np.uint64(46)
HIGHEST = 1.5  # normalised similarity, of equal images that are opposite to every background

Rows = NDArray[np.int64]  # (m,) rows of images
Whole = NDArray[np.signedinteger[Any]]
logger = logging.getLogger(__name__)


class Neighbours(NamedTuple):
    """The nearest images of each image, nearest first, and what they were computed from."""

    keys: NDArray[np.bytes_]  # (n,) ascending
    prints: NDArray[np.uint64]  # (n,) fingerprints of the embeddings
    to_background: NDArray[np.float64]  # (n,) similarity to background photographs
    cells: NDArray[np.int32]  # (n, CELLS); (n, 1) zeros where every pair is compared
    image: NDArray[np.int32]  # (e,) row of an image, ascending
    other: NDArray[np.int32]  # (e,) row of its neighbour
    distance: NDArray[np.int32]  # (e,) HIGHEST - normalised similarity, in millionths

    def pairs(self) -> NDArray[np.int64]:
        """Return the pairs of rows (m, 2), each once, the smaller row first, in order."""
        packed = _join(self.image.astype(np.int64), self.other.astype(np.int64))
        return np.stack(_split([packed]), axis=1)


def score_pairs(
    keys: list[str],
    vectors: NDArray[np.float32],
    to_background: NDArray[np.float64],
    pairs: NDArray[np.int64],
) -> pd.DataFrame:
    """Return the pairs, ascending rows of `vectors` as (m, 2), with both similarities."""
    a, b = pairs[:, 0], pairs[:, 1]
    similarity = _similarity(vectors, a, b)
    names = np.array(keys, dtype=object)
    return pd.DataFrame(
        {
            "key_a": names[a],
            "key_b": names[b],
            "similarity": similarity,
            "normalised": normalise(similarity, to_background[a], to_background[b]),
        }
    )


def find_neighbours(
    keys: list[str],
    vectors: NDArray[np.float32],
    background: NDArray[np.float32] | None,
    neighbours: int,
    threshold: float,
    cache: Path | None = None,
) -> Neighbours:
    """Return for each image the nearest `neighbours` of a normalised similarity of `threshold`.

    `vectors` is (n, d) of unit length, `keys` its rows, ascending. `background` is (m, d) of unit
    length; without it similarities stay as they are and every pair is compared at any n. `cache`
    is a file of neighbours that is read, if there is one that fits, and brought up to date.
    """
    if len(keys) > MOST:
        raise UserError(f"dedupe: {len(keys)} images; search can number {MOST} at most")
    if background is None and len(keys) > EXACT_BELOW:
        logger.warning("dedupe: without a background, every pair of %d is compared", len(keys))
    in_cells = background is not None and len(keys) > EXACT_BELOW
    digest = _digest(background, neighbours, threshold, in_cells)
    known = _read_cache(cache, digest) if cache else None
    graph, to_search = _carry_over(np.array(keys, "S"), vectors, known, neighbours)
    if known is not None and len(known.keys) == len(keys) and not to_search.any():
        return known
    graph = _assign_cells(graph, vectors, background, in_cells)
    lists = _pack(len(keys), graph.image, graph.other, graph.distance)
    worst = np.full(len(keys), -np.inf, np.float32)  # of each full list; what is below is dropped
    _update_worst(worst, lists, neighbours)
    for a, b in _near_pairs(vectors, graph, to_search, threshold, worst):
        near = normalise(_similarity(vectors, a, b), graph.to_background[a], graph.to_background[b])
        a, b, near = a[near >= threshold], b[near >= threshold], near[near >= threshold]
        away = np.tile(np.rint((HIGHEST - near) * 10**DECIMALS).astype(np.int64), 2)
        both = np.concatenate([a, b]), np.concatenate([b, a]), away
        lists = _merge(lists, _pack(len(keys), *both), neighbours)
        _update_worst(worst, lists, neighbours)
    image, other, distance = (part.astype(np.int32) for part in _unpack(lists))
    graph = graph._replace(image=image, other=other, distance=distance)
    if cache:
        _write_cache(cache, digest, graph)
    return graph


def _carry_over(
    keys: NDArray[np.bytes_],
    vectors: NDArray[np.float32],
    known: Neighbours | None,
    neighbours: int,
) -> tuple[Neighbours, NDArray[np.bool_]]:
    """Return what is known of these images, and which of them must be searched, (n,).

    Those are the new ones, and those of which a full list has lost a member: another one, which
    the list had no room for, takes its place.
    """
    prints = _fingerprints(vectors)
    n = len(keys)
    empty = Neighbours(
        keys, prints, np.full(n, np.nan), np.zeros((n, 1), np.int32),
        *(np.zeros(0, np.int32) for _ in range(3)),
    )  # fmt: skip
    if known is None or not len(known.keys):
        return empty, np.ones(n, bool)
    before = np.searchsorted(known.keys, keys).clip(max=len(known.keys) - 1)
    stays = (known.keys[before] == keys) & (known.prints[before] == prints)
    now = np.full(len(known.keys), -1, np.int32)  # row now, by row before
    now[before[stays]] = np.flatnonzero(stays)
    to_background = np.where(stays, known.to_background[before], np.nan)
    image, other = now[known.image], now[known.other]
    whole = (image >= 0) & (other >= 0)
    full = np.bincount(known.image, minlength=len(known.keys))[before] >= neighbours
    lost = np.bincount(image[(image >= 0) & (other < 0)], minlength=n) > 0
    carried = Neighbours(
        keys, prints, to_background, known.cells[before],
        image[whole], other[whole], known.distance[whole],
    )  # fmt: skip
    return carried, ~stays | (full & lost)


def _assign_cells(
    graph: Neighbours,
    vectors: NDArray[np.float32],
    background: NDArray[np.float32] | None,
    in_cells: bool,
) -> Neighbours:
    """Return `graph` with the cells and the background similarity of images that have none yet."""
    new = np.flatnonzero(np.isnan(graph.to_background))
    to_background, cells = graph.to_background.copy(), graph.cells
    if background is None:
        to_background[new] = 0.0
    else:
        nearest, similarity = nearest_background(vectors[new], background, CELLS)
        to_background[new] = mean_of_nearest(similarity)
        if in_cells:
            cells = np.broadcast_to(cells, (len(vectors), nearest.shape[1])).copy()
            cells[new] = nearest
    return graph._replace(to_background=to_background, cells=cells)


class Comparison(NamedTuple):
    """The images of one cell, of which those from `start` to `end` are compared with the rest."""

    rows: Rows
    start: int
    end: int


def _near_pairs(
    vectors: NDArray[np.float32],
    graph: Neighbours,
    to_search: NDArray[np.bool_],
    threshold: float,
    worst: NDArray[np.float32],
) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows (a, b), a < b, that may be near, one of them `to_search`; some come repeatedly."""
    todo = list(_comparisons(graph.cells, to_search))
    progress = Progress("dedupe, search", sum(c.end - c.start for c in todo), "look-up")
    held: list[Rows] = []
    # Many small products: threads of one's own keep the cores busy, those of BLAS wait in them.
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(
            available_cores(), initializer=faiss.omp_set_num_threads, initargs=(1,)
        ) as threads,
    ):
        for start in range(0, len(todo), AT_ONCE):
            batch = todo[start : start + AT_ONCE]
            held += threads.map(
                lambda c: _compare(vectors, graph.to_background, c, threshold, worst), batch
            )
            progress.advance(sum(c.end - c.start for c in batch))
            if sum(map(len, held)) >= HELD_AT_ONCE:
                yield _split(held)
                held = []
    progress.finish()
    if held:
        yield _split(held)


def _comparisons(cells: NDArray[np.int32], to_search: NDArray[np.bool_]) -> Iterator[Comparison]:
    """Yield what to compare, so that each pair of which one is `to_search` meets in its cells."""
    order = np.argsort(cells, axis=None, kind="stable") // cells.shape[1]
    last = 0
    for size in np.bincount(cells.ravel()):
        members = order[last : last + size]
        last += size
        wanted = to_search[members]
        rows = np.concatenate([members[wanted], members[~wanted]])
        step = max(1, COMPARED_AT_ONCE // max(1, size))
        for start in range(0, int(wanted.sum()), step):
            yield Comparison(rows, start, min(start + step, int(wanted.sum())))


def _compare(
    vectors: NDArray[np.float32],
    to_background: NDArray[np.float64],
    comparison: Comparison,
    threshold: float,
    worst: NDArray[np.float32],
) -> Rows:
    """Return the pairs, packed, that may reach `threshold` and a place in one of the two lists."""
    rows = comparison.rows[comparison.start :]  # those before have been compared with all
    count = comparison.end - comparison.start
    stored = np.ones((len(rows), vectors.shape[1] + 2), np.float32)
    stored[:, :-2] = vectors[rows]
    stored[:, -1] = -WEIGHT / 2 * to_background[rows]
    asked = stored[:count].copy()
    asked[:, -2:] = stored[:count, :-3:-1]
    index = faiss.IndexFlatIP(stored.shape[1])
    index.add(stored)
    ends, near, other = index.range_search(asked, threshold - SLACK)
    a, b = rows[np.repeat(np.arange(count), np.diff(ends.astype(np.int64)))], rows[other]
    promising = (a != b) & (near >= np.minimum(worst[a], worst[b]) - SLACK)
    return _join(a[promising], b[promising])


def _join(a: Rows, b: Rows) -> Rows:
    """Pack pairs of rows, whichever comes first."""
    return np.minimum(a, b) * MOST + np.maximum(a, b)


def _split(packed: list[Rows]) -> tuple[Rows, Rows]:
    """Return the pairs (a, b), a < b, each once and in order."""
    pairs = _distinct(np.concatenate(packed))
    return pairs // MOST, pairs % MOST


def _distinct(codes: NDArray[Any]) -> NDArray[Any]:
    """Return the codes in order, each once; sorts them in place, many times faster than unique."""
    codes.sort()
    return codes[np.append(True, codes[1:] != codes[:-1])] if len(codes) else codes


def _similarity(vectors: NDArray[np.float32], a: Rows, b: Rows) -> NDArray[np.float64]:
    parts = [
        cosine(vectors[a[start : start + CHUNK]], vectors[b[start : start + CHUNK]])
        for start in range(0, len(a), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


Packed = list[NDArray[np.uint64]]  # the lists of neighbours, block by block


def _pack(n: int, image: Whole, other: Whole, distance: Whole) -> Packed:
    packed = []
    for start in range(0, max(n, 1), BLOCK):
        here = (image >= start) & (image < start + BLOCK)
        place, away, row = (part[here].astype(np.uint64) for part in (image, distance, other))
        packed.append((place - np.uint64(start) << IMAGE_BIT) + away * np.uint64(MOST) + row)
    return packed


def _merge(known: Packed, more: Packed, neighbours: int) -> Packed:
    """Return the nearest of both, at most `neighbours` for each image."""
    merged = [_distinct(np.concatenate([a, b])) for a, b in zip(known, more, strict=True)]
    return [codes[_ranks(codes) < neighbours] for codes in merged]


def _update_worst(worst: NDArray[np.float32], lists: Packed, neighbours: int) -> None:
    """Set the normalised similarity of the last neighbour of each list that is full."""
    last = [codes[_ranks(codes) == neighbours - 1] for codes in lists]
    image, _, distance = _unpack(last)
    worst[image] = HIGHEST - distance / 10**DECIMALS


def _ranks(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the position of each neighbour in the list of its image."""
    image = (codes >> IMAGE_BIT).astype(np.int64)
    first = np.searchsorted(image, np.arange(BLOCK))
    return np.arange(len(codes)) - first[image]


def _unpack(packed: Packed) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (image, other, distance) of every neighbour, by image, nearest first."""
    codes = np.concatenate(packed)
    block = np.repeat(np.arange(len(packed)), [len(part) for part in packed])
    image = block * BLOCK + (codes >> IMAGE_BIT).astype(np.int64)
    distance = codes // np.uint64(MOST) % np.uint64(FARTHEST)
    return image, codes % np.uint64(MOST), distance


def _fingerprints(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return 64 bits per embedding, which tell a changed one."""
    words = np.ascontiguousarray(vectors).view(np.uint32)
    odd = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64) | 1
    parts = [words[i : i + CHUNK].astype(np.uint64) @ odd for i in range(0, len(words), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _digest(
    background: NDArray[np.float32] | None, neighbours: int, threshold: float, in_cells: bool
) -> str:
    text = json.dumps([VERSION, neighbours, threshold, in_cells, CELLS])
    content = b"" if background is None else background.tobytes()
    return hashlib.sha256(text.encode() + content).hexdigest()


def _read_cache(path: Path, digest: str) -> Neighbours | None:
    """Return what a former run found, None where it searched otherwise or the file is broken."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            if str(stored["digest"]) == digest:
                return Neighbours(*(stored[name] for name in Neighbours._fields))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    return None


def _write_cache(path: Path, digest: str, graph: Neighbours) -> None:
    with publish(path) as handle:
        np.savez(handle, digest=np.array(digest), allow_pickle=False, **graph._asdict())
