"""Search among 10,000 to a million embeddings: time, memory, and the copies that are found.

    python -m benchmarks.search FOLDER_OR_SHARDS [--sizes 10000 100000 1000000] [--at-least 0.35]

The photographs are embedded once, and two edits of every sixth one as well (all kinds of
benchmarks/copies.py in turn). From them come any number of photographs that do not exist: a real
embedding is moved along the differences to its 15 nearest neighbours, by random weights, so far
that strangers are as near to each other as real ones are. That is printed first, for as many made
as real photographs; the number of near strangers per image grows with n for real ones just so.

One in fifty of them is planted as a copy: another one takes over how a real edit changed a real
photograph, the difference of the two embeddings, turned off the one to be copied and scaled to the
same cosine. For each size, in a process of its own: seconds to read and to search, of processor
time (which other programs disturb least), peak memory, candidates per image, and the share of
copies found, of those that reach `dedupe.candidate_threshold`. The second run of each size adds 1 %
to what is remembered. Last the exponent of growth.
"""

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.copies import EASY, HARD
from darkroom.core import tables
from darkroom.core.params.load import load_params
from darkroom.core.params.whole import Params
from darkroom.dedupe.normalise import (
    NEAREST,
    cosine,
    load_background,
    mean_of_nearest,
    nearest_background,
    normalise,
)
from darkroom.dedupe.search import find_neighbours, score_pairs
from darkroom.embedding.network import Network
from darkroom.images.decode import DecodeError, decode
from darkroom.images.resize import resize
from tools.fit_copy_network import read_photographs

TRANSFORMS = [*list(EASY.values())[1:], *HARD.values()]
EDITED = 6  # of so many photographs one is edited
NEAR = 15  # neighbours along which a photograph is moved
COPIES = 50  # of so many made ones one is a copy
PART = 10_000  # embeddings per file, and made at a time
SIZES = (10_000, 100_000, 1_000_000)
Vectors = NDArray[np.float32]  # (n, d) of unit length


class Real(NamedTuple):
    """Embeddings of photographs."""

    photographs: Vectors  # (n, d)
    edited: Vectors  # (m, d) some of them
    edits: Vectors  # (m, d) their edits


def embed_some(contents: list[bytes]) -> Real:
    network = Network()
    size, images, edited, edits = network.size_px, [], [], []
    for number, content in enumerate(contents):
        try:
            image = decode(content)
        except DecodeError:
            continue
        images.append(resize(image, size, size))
        for half in range(2 if number % EDITED == 0 else 0):
            make = TRANSFORMS[(number // EDITED + half * 5) % len(TRANSFORMS)]
            edited.append(len(images) - 1)
            edits.append(resize(np.ascontiguousarray(make(image)), size, size))
    photographs = network.embed(images).vectors
    return Real(photographs, photographs[edited], network.embed(edits).vectors)


def unit(vectors: NDArray) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(length, 1e-9)).astype(np.float32)


def nearest(vectors: Vectors, count: int) -> tuple[Vectors, NDArray[np.int64]]:
    """Return similarities and rows of the nearest others, (n, count)."""
    near, rows = faiss.knn(vectors, vectors, count + 1, metric=faiss.METRIC_INNER_PRODUCT)
    return near[:, 1:], rows[:, 1:]


def make(real: Real, around: NDArray[np.int64], n: int, seed: int) -> tuple[Vectors, NDArray]:
    """Return `n` made embeddings, and whether each is a copy of the one before it."""
    rng = np.random.default_rng(seed)
    of = rng.integers(len(real.photographs), size=n)
    weights = rng.standard_normal((n, NEAR)).astype(np.float32) / NEAR**0.5
    towards = real.photographs[around[of]] - real.photographs[of][:, None]  # (n, NEAR, d)
    made = unit(real.photographs[of] + np.einsum("nk,nkd->nd", weights, towards))
    copy = np.arange(n) % COPIES == COPIES - 1
    original = made[np.flatnonzero(copy) - 1]
    which = rng.integers(len(real.edits), size=len(original))
    cosines = cosine(real.edited[which], real.edits[which])[:, None]
    change = real.edits[which] - real.edited[which]
    aside = unit(change - (change * original).sum(axis=1, keepdims=True) * original)
    made[copy] = unit(cosines * original + np.sqrt(np.maximum(1 - cosines**2, 0)) * aside)
    return made, copy


def write_made(real: Real, around: NDArray[np.int64], n: int, folder: Path) -> None:
    """Write `n` made embeddings as the embed stage does; keys tell neither order nor copies."""
    for start in range(0, n, PART):
        size = min(PART, n - start)
        vectors, _ = make(real, around, size, seed=start)
        keys = [key_of(row) for row in range(start, start + size)]
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        table = pa.table({"key": keys, "embedding": column})
        pq.write_table(table, folder / f"{start:08d}.parquet", compression="zstd")


def key_of(row: int) -> str:
    return f"{row * 0x9E3779B97F4A7C15 % 2**64:016x}"


def measure(folder: Path, n: int, at_least: float, neighbours: int, memory: Path) -> list[float]:
    """Return what is printed: seconds to read, to search, of processor; GiB; candidates; recall."""
    started, processor = time.perf_counter(), time.process_time()
    wanted = [key_of(row) for row in range(n)]
    keys, vectors = tables.read_vectors(folder, wanted)
    read = time.perf_counter()
    background = load_background()
    found = find_neighbours(keys, vectors, background, neighbours, at_least, memory)
    pairs = score_pairs(keys, vectors, found.to_background, found.pairs())
    searched, processor = time.perf_counter(), time.process_time() - processor
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 2**20
    row = {key: number for number, key in enumerate(keys)}
    planted = [(row[wanted[i - 1]], row[wanted[i]]) for i in range(COPIES - 1, n, COPIES)]
    ends = np.sort(np.array(planted), axis=1)
    similarity = cosine(vectors[ends[:, 0]], vectors[ends[:, 1]])
    near = (
        normalise(similarity, found.to_background[ends[:, 0]], found.to_background[ends[:, 1]])
        >= at_least
    )
    hit = np.isin(ends[near] @ [n, 1], found.pairs() @ [n, 1])
    return [
        read - started, searched - read, processor, peak,
        len(pairs) / n, float(np.mean(hit)), len(hit),
    ]  # fmt: skip


def show_likeness(real: Vectors, made: Vectors) -> None:
    """Print how near strangers are."""
    for name, vectors in (("real", real), ("made", made)):
        near, rows = nearest(vectors, 20)
        foreign = mean_of_nearest(nearest_background(vectors, load_background(), NEAREST)[1])
        normalised = normalise(near, foreign[:, None], foreign[rows])
        first, last = (np.quantile(near[:, i], (0.05, 0.5, 0.95)) for i in (0, 19))
        above = [round(float((normalised >= t).sum() / len(vectors)), 2) for t in (0.3, 0.35, 0.4)]
        print(
            f"{len(vectors)} {name}: nearest stranger {np.round(first, 2)}, twentieth "
            f"{np.round(last, 2)} (5 %, median, 95 %); strangers per image at a normalised "
            f"similarity of 0.3, 0.35, 0.4: {above}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--at-least", type=float)
    given = parser.parse_args()
    params = load_params(Path.cwd(), Params).dedupe
    at_least = params.candidate_threshold if given.at_least is None else given.at_least
    spawn = get_context("spawn")
    contents = [content for _, content in read_photographs(given.source)]
    with ProcessPoolExecutor(None, spawn) as pool:
        some = [contents[start : start + 1200] for start in range(0, len(contents), 1200)]
        parts = list(pool.map(embed_some, some))
    real = Real(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    around = nearest(real.photographs, NEAR)[1]
    like, copy = make(real, around, len(real.photographs), seed=-1 % 2**32)
    show_likeness(real.photographs, like[~copy])
    seconds = []
    for n in given.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            folder, memory = Path(scratch) / "embeddings", Path(scratch) / "neighbours.npz"
            folder.mkdir()
            write_made(real, around, n, folder)
            for name, m in (("99 %", n - n // 100), ("1 % more", n)):
                with ProcessPoolExecutor(1, spawn) as pool:  # a new one, for its peak memory
                    task = pool.submit(measure, folder, m, at_least, params.neighbours, memory)
                    read, search, processor, peak, candidates, recall, copies = task.result()
                print(
                    f"{n}, {name}: read {read:.1f} s, search {search:.1f} s, "
                    f"{processor:.1f} s of processor, peak {peak:.2f} GiB, "
                    f"{candidates:.1f} candidates per image, {recall:.4f} of {copies:.0f} copies",
                    flush=True,
                )
                seconds += [processor] if m < n else []
    if len(given.sizes) > 1:
        growth = np.polyfit(np.log(given.sizes), np.log(seconds), 1)[0]
        print(f"growth exponent {growth:.2f}, of processor time")


if __name__ == "__main__":
    main()
