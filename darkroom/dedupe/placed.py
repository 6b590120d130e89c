"""Verify pairs of which one picture may lie within the other: a photograph in a collage or a frame.

Candidates come from `regions`. Which of the two holds the other their regions say. Where it lies is
sought on small greys that embed has kept, in every place and at sizes some tenths apart (normalised
cross-correlation), and once more finer; nearly all other pairs end there, before a picture is read.
What is left is refined and laid on as any pair is.

Not found: a picture that lies there turned, mirrored, or stretched by more than some hundredths.
"""

from collections.abc import Iterable
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from darkroom.core import tables
from darkroom.core.params.engine import EngineParams
from darkroom.core.progress import Progress
from darkroom.dedupe.decide import decide_placed
from darkroom.dedupe.evidence import (
    EVIDENCE,
    MADE_BY,
    QUESTION,
    PairCache,
    as_pairs,
    map_tasks,
    read_or_flat,
)
from darkroom.dedupe.matching import GRID, Map
from darkroom.dedupe.verify import NOTHING, Evidence, Picture, align_all
from darkroom.embedding.network import REGION_DIMENSIONS, REGIONS, SMALL_PX
from darkroom.images.previews import Place, Previews

VERSION = "1"  # raise it when the same two pictures give other evidence

Small = NDArray[np.uint8]  # (SMALL_PX, SMALL_PX)

# Sides of the placed picture in those of what holds it, along which it is the larger share.
SIZES = tuple(np.geomspace(0.46, 0.87, 5))
FINER = (0.92, 0.96, 1.0, 1.04, 1.08)  # of the best of these
MARGIN_PX = 2  # what a frame or a crop may hide at each side
COARSE_PX, FINE_PX = 24, 48  # side of what holds it, for the two searches
MAYBE, LIKELY = 0.76, 0.86  # correlation; benchmarks/copies.py
DETAIL_SIGMA, MIN_DETAIL = 1.0, 0.55  # px of the holder; skies and walls correlate, but not in that
REGIONS_FILE = "regions.bin"
PER_TASK = 1024  # about a fifth of a second
AT_ONCE = 4096  # pairs whose regions are compared


class Found(NamedTuple):
    """Where one picture correlates most with another: centre and size, in sides of the other."""

    correlation: float
    size: float
    x: float
    y: float


def find_place(holder: Small, placed: Small, stretch: float) -> Map | None:
    """Return the map of places of `placed` to those of `holder`, None where it lies nowhere.

    `stretch` is how much wider `placed` is than `holder`, as a ratio of their aspects.
    """
    inner = placed[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    found = _search(_resize(holder, COARSE_PX, COARSE_PX), inner, stretch, SIZES)
    if found.correlation < MAYBE:
        return None
    sizes = [found.size * finer for finer in FINER]
    found = _search(_resize(holder, FINE_PX, FINE_PX), inner, stretch, sizes)
    if found.correlation < LIKELY:
        return None
    width, height = _sides(found.size, stretch)
    left, top = GRID * (found.x - width / 2), GRID * (found.y - height / 2)
    matrix = np.array([[width, 0, left], [0, height, top]])
    if _correlation_of_detail(holder, placed, matrix) < MIN_DETAIL:
        return None
    return Map(matrix, 0, np.ones((GRID, GRID), np.bool_))


def _sides(size: float, stretch: float) -> tuple[float, float]:
    return (size, size / stretch) if stretch >= 1 else (size * stretch, size)


def _search(holder: Small, inner: Small, stretch: float, sizes: Iterable[float]) -> Found:
    """Return where `inner` correlates most with `holder`, at one of the sizes of the whole."""
    side, share = holder.shape[0], inner.shape[0] / SMALL_PX
    best = Found(-1.0, 0.0, 0.0, 0.0)
    for size in sizes:
        width, height = (round(part * side * share) for part in _sides(size, stretch))
        if not 3 <= min(width, height) <= max(width, height) <= side:
            continue
        scores = cv2.matchTemplate(holder, _resize(inner, width, height), cv2.TM_CCOEFF_NORMED)
        _, score, _, (left, top) = cv2.minMaxLoc(scores)
        if np.isfinite(score) and score > best.correlation:
            best = Found(score, size, (left + width / 2) / side, (top + height / 2) / side)
    return best


def _correlation_of_detail(holder: Small, placed: Small, matrix: NDArray[np.float64]) -> float:
    """Return how far the finest detail correlates, of which smooth pictures have little."""
    (width, _, left), (_, height, top) = matrix * (SMALL_PX / GRID)
    size = max(6, round(width * GRID)), max(6, round(height * GRID))
    x, y = width * GRID / size[0], height * GRID / size[1]
    window = np.array([[x, 0, left + (x - 1) / 2], [0, y, top + (y - 1) / 2]])
    there = cv2.warpAffine(
        holder, window, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    details = []
    for picture in (there, _resize(placed, *size)):
        grey = picture.astype(np.float32)
        detail = (grey - cv2.GaussianBlur(grey, (0, 0), DETAIL_SIGMA))[1:-1, 1:-1]
        details.append(np.ravel(detail - detail.mean()))
    one, other = details
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-6))


def _resize(picture: Small, width: int, height: int) -> Small:
    method = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)


class Interiors(NamedTuple):
    """What is known of the inside of images, by rows that follow their keys."""

    names: list[str]  # ascending
    regions: NDArray[np.int8]  # (n, REGIONS, REGION_DIMENSIONS)
    aspects: NDArray[np.float64]  # (n,) width / height
    small: Path  # (n, SMALL_PX, SMALL_PX), to be mapped by workers

    def close(self) -> None:
        """Delete what was mapped."""
        for path in (self.small, self.small.with_name(REGIONS_FILE)):
            path.unlink()


def read_interiors(
    embeddings: Path, names: list[str], aspects: NDArray[np.float64], scratch: Path
) -> Interiors:
    """Return what the folder of embed holds of these keys, mapped from files in `scratch`."""
    regions, small = scratch / REGIONS_FILE, scratch / "small.bin"
    tables.write_described(embeddings, names, "regions", REGIONS * REGION_DIMENSIONS, regions)
    tables.write_described(embeddings, names, "small", SMALL_PX**2, small)
    mapped = np.memmap(regions, np.int8, "r") if names else np.zeros(0, np.int8)
    return Interiors(names, mapped.reshape(-1, REGIONS, REGION_DIMENSIONS), aspects, small)


class Question(NamedTuple):
    """Does `holder` hold `placed`? Rows of their small greys, and where their pictures lie."""

    holder: int
    placed: int
    stretch: float
    holder_at: Place
    placed_at: Place


def placed_cache(scratch: Path) -> PairCache:
    """Return the evidence on pictures within pictures that `scratch` holds."""
    return PairCache(scratch, "placed", f"{VERSION}-{MADE_BY}", EVIDENCE)


def verify_placed(
    pictures: Previews,
    inside: Interiors,
    pairs: pd.DataFrame,
    engine: EngineParams,
    cache: PairCache,
) -> pd.DataFrame:
    """Return PAIRS: those of the candidates of which one picture lies in the other.

    Evidence depends on the two images alone and is taken from `cache` if it is there.
    """
    answered = pairs.merge(cache.table(), "left", QUESTION)
    unknown = answered.loc[answered["inliers"].isna(), QUESTION].to_numpy(object)
    if len(unknown):
        _verify_unknown(pictures, inside, unknown, engine, cache)
        answered = pairs.merge(cache.table(), "left", QUESTION)
    rows = zip(*(answered[name] for name in Evidence._fields), strict=True)
    judged = as_pairs(answered, [decide_placed(Evidence(*row)) for row in rows])
    return judged[judged["duplicate"]]


def _verify_unknown(
    pictures: Previews,
    inside: Interiors,
    unknown: NDArray[np.object_],
    engine: EngineParams,
    cache: PairCache,
) -> None:
    """Add the evidence on these pairs of keys, (m, 2), to the cache."""
    rows = np.searchsorted(np.array(inside.names, object), unknown)
    second_holds = holds_more(inside.regions, rows[:, ::-1]) > holds_more(inside.regions, rows)
    ordered = np.where(second_holds[:, None], rows[:, ::-1], rows)
    used = np.unique(rows)
    places = pictures.places.loc[[inside.names[row] for row in used]].itertuples(index=False)
    at = {row: Place(*place) for row, place in zip(used.tolist(), places, strict=True)}
    stretch = inside.aspects[ordered[:, 1]] / inside.aspects[ordered[:, 0]]
    questions = [
        Question(holder, placed, wider, at[holder], at[placed])
        for (holder, placed), wider in zip(ordered.tolist(), stretch.tolist(), strict=True)
    ]
    tasks = [questions[i : i + PER_TASK] for i in range(0, len(questions), PER_TASK)]
    progress = Progress("dedupe, placed", len(unknown), "pair")
    start = 0
    with map_tasks(engine, len(tasks)) as apply_to_all:
        for found in apply_to_all(placed_task, repeat(pictures.root), repeat(inside.small), tasks):
            here = slice(start, start + len(found))
            oriented = [
                swap(evidence) if swapped else evidence
                for evidence, swapped in zip(found, second_holds[here], strict=True)
            ]
            cache.add([(*pair, *e) for pair, e in zip(unknown[here], oriented, strict=True)])
            start += len(found)
            progress.advance(len(found))
    progress.finish()


def holds_more(regions: NDArray[np.int8], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return for pairs of rows (m, 2) how near a region of the first is to the second, (m,)."""
    parts = []
    for start in range(0, len(rows), AT_ONCE):
        holder, placed = rows[start : start + AT_ONCE].T
        whole = regions[placed, 0].astype(np.float32)
        within = regions[holder, 1:].astype(np.float32)
        parts.append((within @ whole[:, :, None])[:, :, 0].max(axis=1))
    return np.concatenate(parts)


def swap(evidence: Evidence) -> Evidence:
    """Return the evidence with its map turned round."""
    back = np.linalg.inv(np.vstack([evidence.matrix, [0, 0, 1]]))[:2]
    return Evidence(*evidence[:-6], *(float(value) for value in back.ravel()))


def placed_task(root: Path, small: Path, task: list[Question]) -> list[Evidence]:
    """Return the evidence on a run of questions, of maps of `placed` to `holder`."""
    cv2.setNumThreads(1)
    greys = np.memmap(small, np.uint8, "r").reshape(-1, SMALL_PX, SMALL_PX)
    with threadpool_limits(1):  # the workers share the cores already
        starts = [
            find_place(greys[asked.holder], greys[asked.placed], asked.stretch) for asked in task
        ]
        found = {number: start for number, start in enumerate(starts) if start is not None}
        pairs = [
            (_picture(root, task[number].holder_at), _picture(root, task[number].placed_at))
            for number in found
        ]
        evidence = dict(zip(found, align_all(pairs, list(found.values())), strict=True))
        return [evidence.get(number, NOTHING) for number in range(len(task))]


def _picture(root: Path, place: Place) -> Picture:
    """Return a picture of which no local descriptors are asked for."""
    return Picture(np.zeros((0, 0), np.int8), partial(read_or_flat, root, place))
