"""Verification: is one picture really an edit of the other? Cheap first, then only what needs it.

1. Local descriptors of both (`matching`), without a look at either: where too few places match
   coherently, the pair is refused, unless the embeddings are near.
2. The whole pictures as thumbnails, in the eight turns and flips: a picture that was resized,
   recompressed, recoloured or flipped already lies on the other one.
3. The affine map that most matches fit, refined on the pixels (`alignment`). Affine and not a
   homography, since what edits do (crop, scale, aspect, turn, flip) is affine: the two further
   degrees of freedom take in what is not a copy, a scene from another place.

Aligned greys are compared by SSIM (Wang et al. 2004) of band-passed grey with local contrast evened
out, which does not see brightness, contrast, shading or fine noise, and by the mean squared error
of the smoothed grey. What decides is the share of the detailed part of the overlap that agrees: a
person before another wall, or a window with other content, fails by what differs, however well the
rest fits. What differs by details below a fiftieth of the long side (the numbers in two
spreadsheets of one form) is not seen here: `difference` looks for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.alignment import Level, Matrices, Matrix, determinant, refine
from darkroom.dedupe.matching import (
    GRID,
    MIN_COARSE_STRENGTH,
    MIN_COHERENT,
    MIN_MATCHES,
    Descriptors,
    Map,
    coarse,
    coarse_strength,
    find_map,
    in_pixels,
    match,
)
from darkroom.images.decode import Pixels

VERSION = "7"  # raise it when the same two pictures give other evidence

SIDE_PX = 160  # long side for comparing
THUMB_PX = 32
# Normalised similarity from which a second try is worth it, and from which a pair is looked at
# whatever its descriptors say.
NEAR, VERY_NEAR = 0.45, 0.6
FLAT_STD = 1.5  # grey levels; below this a picture has no structure to verify
ALIKE, HARDLY_ALIKE = 0.85, 0.6  # correlation of thumbnails: lies as it is; may be made to lie
SURE_AGREEMENT = 0.7  # with less, blurred pictures are compared by their coarse detail
ASTRAY = 0.62  # with less agreement, another map and the whole pictures are tried as well
PROMISING, SURE = 14, 24  # matches that fit: worth a look at the pictures, and a second try
ROUGH_PX, ROUGH_STEPS = 80, 12  # side on which a map is refined first, with a point in each place
FINE_PX, FINE_CELLS, FINE_STEPS = 160, 32, 6
FINE_SIGMA, COARSE_SIGMA = 1.5, 8.0  # px: the band that is compared
WINDOW_SIGMA = 5.0  # px, over which contrast is evened out
SSIM_STEP, SSIM_WINDOW = 2, 9  # the band holds no finer detail than every second pixel; pixels
PLAIN, COARSER = 6.0, 2.5  # grey levels; blurred pictures hold more at sizes 2.5 times as large
NO_DETAIL = 1.5  # grey levels; with less contrast there is nothing that could agree
DETAIL = 0.5  # of the mean local contrast: from here on a place has detail
AGREES = 0.8  # local SSIM
TILE = 8  # of those pixels
UNCOVERED = 0.65  # share of the detail that a caption or a sticker leaves
WHOLE_AGREEMENT, WHOLE_MSE = 0.85, 0.1  # whole pictures that agree so far need no matches
EDGE_PX = 15  # the band is none within half of this at an edge, where smoothing sees one side
MIN_CORE_PX = 100  # of SSIM_STEP; fewer compared pixels prove nothing

Grey = NDArray[np.uint8]  # (height, width)
Band = NDArray[np.float32]  # (height, width), every SSIM_STEP-th pixel


class Evidence(NamedTuple):
    """What the best alignment of a pair shows."""

    inliers: int  # matching places that fit one map; 0 where the whole pictures were laid on
    overlap: float  # share of the smaller picture that the other covers, in [0, 1]
    agreement: float  # share of the overlap's detail that agrees, in [0, 1]
    uncovered: float  # the same in the tiles that agree best and hold UNCOVERED of the detail
    worst: float  # the same in the tile that agrees least
    ssim: float  # mean SSIM over the overlap's detail, in [-1, 1]
    mse: float  # mean squared error of smoothed grey of unit variance, in [0, 4]
    # The affine map of `b` to `a`, in sixteenths of their sides: x = xx * x + xy * y + x0.
    xx: float
    xy: float
    x0: float
    yx: float
    yy: float
    y0: float

    @property
    def matrix(self) -> Matrix:
        """Return the map as (2, 3)."""
        return np.array(self[-6:]).reshape(2, 3)


NOTHING = Evidence(0, 0.0, 0.0, 0.0, 0.0, *[float("nan")] * 8)


class Picture:
    """A picture to verify; it is read, and whatever is asked of it computed, when first needed."""

    def __init__(self, local: Descriptors, read: Callable[[], Pixels]) -> None:
        """Keep the descriptors of its places, and how to read it, in colour or grey."""
        self.local, self._read = local, read

    @cached_property
    def grey(self) -> Grey:
        """Return the picture, its long side SIDE_PX."""
        pixels = np.ascontiguousarray(self._read())
        if pixels.ndim == 3:
            pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
        scale = SIDE_PX / max(pixels.shape)
        size = (max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)

    @cached_property
    def is_flat(self) -> bool:
        """Return whether it has no structure to verify."""
        return float(np.std(self.rough.grey)) < FLAT_STD

    @cached_property
    def thumbs(self) -> NDArray[np.float32]:
        """Return the eight turns and flips of its thumbnail, (8, 1024), zero mean, unit length."""
        size = (THUMB_PX, THUMB_PX)
        thumb = cv2.resize(self.grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        thumb -= thumb.mean()
        thumb = np.asarray(thumb / (np.linalg.norm(thumb) + 1e-6), np.float32)
        turned = [np.rot90(t, k).ravel() for t in (thumb, thumb[:, ::-1]) for k in range(4)]
        return np.stack(turned)

    @cached_property
    def coarse(self) -> NDArray[np.float32]:
        """Return the descriptors of fewer, larger places."""
        return np.asarray(coarse(self.local[None])[0])

    @cached_property
    def smooth(self) -> Band:
        """Return the picture without its finest detail."""
        return _blurred(self.grey.astype(np.float32), FINE_SIGMA)

    @cached_property
    def rough(self) -> Level:
        """Return the points on which a map is refined first."""
        return Level(self.grey, ROUGH_PX, GRID, 1.0)

    @cached_property
    def fine(self) -> Level:
        """Return the points on which it is refined then."""
        return Level(self.grey, FINE_PX, FINE_CELLS, 1.0)


class Question(NamedTuple):
    """Two pictures to compare; `a` is the one of the smaller key."""

    a: Picture
    b: Picture
    normalised: float  # similarity of their embeddings


def compare_all(questions: Sequence[Question]) -> list[Evidence]:
    """Return the evidence of the best alignment of each two pictures.

    It depends on the two and their normalised similarity alone, not on the other questions.
    """
    best = [NOTHING] * len(questions)
    likely = _likely(questions)
    matches = dict(zip(likely, match(*_sides(questions, likely, "local")), strict=True))
    maps = {
        number: found
        for number, each in matches.items()
        if len(each.a) >= MIN_MATCHES and each.coherent >= MIN_COHERENT
        if (found := find_map(each)) is not None and found.fitting >= PROMISING
    }
    turns: dict[int, tuple[Map, float]] = {}
    for number in likely:
        a, b, normalised = questions[number]
        if (number not in maps and normalised < VERY_NEAR) or a.is_flat or b.is_flat:
            maps.pop(number, None)
            continue
        alike = b.thumbs @ a.thumbs[0]  # (8,)
        turn = int(np.argmax(alike))
        turns[number] = _turn(turn), float(alike[turn])
        if alike[turn] >= ALIKE:
            laid = lay(a, b, _turn(turn).matrix, 0)
            if is_same_whole(laid):
                best[number] = laid
    unsure = [number for number in turns if best[number] is NOTHING]
    _improve(best, questions, {n: maps[n] for n in unsure if n in maps})
    unsure = [n for n in unsure if best[n].agreement < ASTRAY and questions[n].normalised >= NEAR]
    others = {
        n: found
        for n in unsure
        if n in maps and maps[n].fitting >= SURE
        if (found := find_map(matches[n], again=True)) is not None
    }
    _improve(best, questions, others)
    unsure = [n for n in unsure if best[n].agreement < ASTRAY and turns[n][1] >= HARDLY_ALIKE]
    # A free change lays any edge over any other.
    _improve(best, questions, {n: turns[n][0] for n in unsure}, _is_small_change)
    return [
        NOTHING._replace(inliers=maps[n].fitting) if each is NOTHING and n in maps else each
        for n, each in enumerate(best)
    ]


def align_all(pairs: Sequence[tuple[Picture, Picture]], starts: Sequence[Map]) -> list[Evidence]:
    """Return for each two pictures the evidence of a map that is near the one given."""
    best = [NOTHING] * len(pairs)
    seen = {n: start for n, start in enumerate(starts) if not any(p.is_flat for p in pairs[n])}
    _improve(best, [Question(*pair, 0.0) for pair in pairs], seen, _is_small_change)
    return best


def _likely(questions: Sequence[Question]) -> list[int]:
    """Return the numbers of the questions that are worth a match."""
    if not questions:
        return []
    everyone = range(len(questions))
    strength = coarse_strength(*(np.stack(each) for each in _sides(questions, everyone, "coarse")))
    near = np.array([question.normalised >= VERY_NEAR for question in questions])
    return [int(n) for n in np.flatnonzero((strength >= MIN_COARSE_STRENGTH) | near)]


def _sides(
    questions: Sequence[Question], numbers: Iterable[int], name: str
) -> tuple[list[Any], list[Any]]:
    """Return this attribute of all `a`, and of all `b`."""
    a, b = ([getattr(questions[n][side], name) for n in numbers] for side in (0, 1))
    return a, b


def _improve(
    best: list[Evidence],
    questions: Sequence[Question],
    starts: Mapping[int, Map],
    allowed: Callable[[Matrices, Matrices], NDArray[np.bool_]] | None = None,
) -> None:
    """Refine maps, and keep by the question's number what shows more than is known."""
    numbers = list(starts)
    begin = np.array([start.matrix for start in starts.values()]).reshape(-1, 2, 3)
    support = np.array([start.support for start in starts.values()])
    rough, correlation = refine(*_sides(questions, numbers, "rough"), begin, ROUGH_STEPS, support)
    shapes = [[side.grey.shape for side in questions[n][:2]] for n in numbers]
    good = (correlation > 0) & _are_plausible(rough, shapes)
    chosen = np.flatnonzero(good)
    rough, numbers = rough[chosen], [numbers[at] for at in chosen]
    fine, correlation = refine(
        *_sides(questions, numbers, "fine"), rough, FINE_STEPS, support[chosen]
    )
    good = (correlation > 0) & _are_plausible(fine, [shapes[at] for at in chosen])
    found = np.where(good[:, None, None], fine, rough)
    told = np.ones(len(found), bool) if allowed is None else allowed(found, begin[chosen])
    for at in np.flatnonzero(told):
        number = numbers[at]
        a, b, _ = questions[number]
        evidence = lay(a, b, found[at], starts[number].fitting)
        if evidence.agreement > best[number].agreement:
            best[number] = evidence


def is_same_whole(evidence: Evidence) -> bool:
    """Return whether the whole pictures agree so well as they lie that matches add nothing."""
    return (
        evidence.inliers == 0
        and evidence.agreement >= WHOLE_AGREEMENT
        and evidence.mse <= WHOLE_MSE
    )


def _turn(number: int) -> Map:
    """Return the map of one of the eight turns and flips, in the order of `Picture.thumbs`."""
    linear = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), number % 4)
    if number >= 4:
        linear = linear @ np.diag([-1.0, 1.0])
    middle = np.full(2, GRID / 2)
    return Map(np.c_[linear, middle - linear @ middle], 0, np.ones((GRID, GRID), np.bool_))


def _are_plausible(
    maps: Matrices, shapes: Sequence[Sequence[tuple[int, int]]]
) -> NDArray[np.bool_]:
    """Refuse maps that no copy has: scale beyond 4, strong shear, also of one that is squared.

    `shapes` are the (height, width) of both pictures of each.
    """
    a, b = np.array(shapes, np.float64).reshape(-1, 2, 2)[:, :, ::-1].swapaxes(0, 1)
    linear = np.where(np.isfinite(maps[:, :, :2]), maps[:, :, :2], 0.0)
    in_places = np.linalg.svd(linear, compute_uv=False)
    stretch = np.linalg.svd(a[:, :, None] * linear / b[:, None], compute_uv=False)
    within = (stretch[:, 0] < 4) & (stretch[:, 1] > 0.25)
    sheared = (stretch[:, 0] >= 2 * stretch[:, 1]) & (in_places[:, 0] >= 2 * in_places[:, 1])
    return np.asarray(within & ~sheared)


def _is_small_change(after: Matrices, before: Matrices) -> NDArray[np.bool_]:
    """Return whether two maps put every corner within a quarter of the side."""
    corners = np.array([[0, 0, 1], [GRID, 0, 1], [0, GRID, 1], [GRID, GRID, 1]], np.float64)
    moved = np.abs(corners @ (after - before).transpose(0, 2, 1))
    return np.asarray(moved.max(axis=(1, 2)) <= GRID / 4)


def lay(a: Picture, b: Picture, matrix: Matrix, inliers: int) -> Evidence:
    """Return the evidence with `b` laid onto `a`.

    Pictures without fine detail are compared by their coarse one.
    """
    target, picture = a.grey, b.grey
    height, width = target.shape
    pixels = in_pixels(matrix, target.shape, picture.shape)
    inside = np.asarray(
        cv2.warpAffine(np.ones_like(picture), pixels, (width, height), flags=cv2.INTER_NEAREST)
    )
    own = picture.size * abs(float(determinant(pixels[None])[0]))
    covered = inside.astype(np.bool_)
    overlap = min(1.0, float(covered.sum()) / max(1.0, min(own, float(target.size))))
    every = slice(None, None, SSIM_STEP)
    inner = cv2.erode(
        inside, np.ones((EDGE_PX, EDGE_PX), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    core = np.ascontiguousarray(inner[every, every] > 0)
    where = (float(value) for value in np.ravel(matrix))
    if core.sum() < MIN_CORE_PX or min(core.shape) < SSIM_WINDOW:
        return Evidence(inliers, overlap, 0.0, 0.0, 0.0, float("nan"), float("nan"), *where)
    warped = cv2.warpAffine(picture, pixels, (width, height)).astype(np.float32)
    if covered.all():
        smooth = [a.smooth, _blurred(warped, FINE_SIGMA)]
    else:  # both the same: their mean, where they do not overlap
        both = [target.astype(np.float32), warped]
        smooth = [
            _blurred(np.where(covered, each, each[covered].mean()), FINE_SIGMA) for each in both
        ]
    one, other = (np.ascontiguousarray(each[every, every]) for each in smooth)
    shares, ssim, contrast = _compare_detail(one, other, core, 1.0)
    if NO_DETAIL <= contrast < PLAIN and shares[0] < SURE_AGREEMENT:
        shares, ssim, _ = _compare_detail(one, other, core, COARSER)
    error = 2 - 2 * _correlation(one[core], other[core])
    return Evidence(inliers, overlap, *shares, ssim, error, *where)


def _blurred(values: Band, sigma: float) -> Band:
    side = 2 * round(3 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(values, (side, side), sigma), np.float32)


def _compare_detail(
    one: Band, other: Band, core: NDArray[np.bool_], coarser: float
) -> tuple[tuple[float, float, float], float, float]:
    """Return ((agreement, uncovered, worst), mean SSIM of detail, contrast in grey levels)."""
    every = slice(None, None, round(coarser))
    bands, locals_, contrasts = zip(
        *(_evened_band(each, core, coarser) for each in (one, other)), strict=True
    )
    detail = (core & (np.maximum(*locals_) >= DETAIL))[every, every]
    if not detail.any() or min(detail.shape) < SSIM_WINDOW or min(contrasts) < NO_DETAIL:
        return (0.0, 0.0, 0.0), float("nan"), min(contrasts)
    ssim = local_ssim(*(np.ascontiguousarray(band[every, every]) for band in bands))
    agrees = (ssim >= AGREES) & detail
    share = float(agrees.sum()) / float(detail.sum())
    shares = share, *_shares_of_tiles(agrees, detail)
    return shares, float(ssim[detail].mean()), min(contrasts)


def _shares_of_tiles(agrees: NDArray[np.bool_], detail: NDArray[np.bool_]) -> tuple[float, float]:
    """Return what agrees of the best tiles with UNCOVERED of the detail, and of the worst one."""
    rows, columns = (length // TILE for length in detail.shape)
    if not rows or not columns:
        return 0.0, 0.0
    agreeing, detailed = (
        cv2.resize(
            each[: rows * TILE, : columns * TILE].astype(np.float32), (columns, rows),
            interpolation=cv2.INTER_AREA,
        )
        for each in (agrees, detail)
    )  # fmt: skip
    used = detailed >= 1 / 4
    if not used.any():
        return 0.0, 0.0
    agreeing, detailed = agreeing[used], detailed[used]
    order = np.argsort(-agreeing / detailed, kind="stable")
    held = np.cumsum(detailed[order])
    tiles = order[: int(np.searchsorted(held, UNCOVERED * held[-1])) + 1]
    best = float(agreeing[tiles].sum()) / float(detailed[tiles].sum())
    return best, float((agreeing / detailed).min())


def local_ssim(one: Band, other: Band) -> Band:
    """Return SSIM around each pixel (Wang et al. 2004, eq. 13) for values in a range of 1.

    As scikit-image's `structural_similarity(..., full=True)`, a tenth of its time: means and
    unbiased (co)variances over SSIM_WINDOW squared.
    """
    pixels = SSIM_WINDOW**2

    def mean(values: Band) -> Band:
        return np.asarray(cv2.blur(values, (SSIM_WINDOW, SSIM_WINDOW)), np.float32)

    mean_one, mean_other = mean(one), mean(other)
    unbiased = pixels / (pixels - 1)
    both = mean(one * one) + mean(other * other) - mean_one**2 - mean_other**2
    shared = mean(one * other) - mean_one * mean_other
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_one * mean_other + c1) * (2 * unbiased * shared + c2)
    below = (mean_one**2 + mean_other**2 + c1) * (unbiased * both + c2)
    return np.asarray(above / below, np.float32)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other / (np.sqrt((one @ one) * (other @ other)) + 1e-6))


def _evened_band(values: Band, core: NDArray[np.bool_], coarser: float) -> tuple[Band, Band, float]:
    """Return (band, local, contrast) of what lies between noise and shading.

    `local` is the contrast around each pixel in units of `contrast`, which is its mean over the
    core in grey levels; the band is divided by it.
    """
    if coarser > 1:
        extra = FINE_SIGMA * np.sqrt(coarser**2 - 1) / SSIM_STEP
        values = _blurred(values, extra)
    band = values - _blurred(values, COARSE_SIGMA * coarser / SSIM_STEP)
    local = np.sqrt(_blurred(band * band, WINDOW_SIGMA * coarser / SSIM_STEP))
    contrast = float(local[core].mean()) + 1e-6
    evened = np.asarray(band / (local + 0.2 * contrast), np.float32)
    return evened, np.asarray(local / contrast, np.float32), contrast
