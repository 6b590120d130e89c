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

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.alignment import Matrix, Points, refine
from darkroom.dedupe.matching import (
    GRID,
    MIN_COHERENT,
    MIN_STRENGTH,
    Descriptors,
    Map,
    find_map,
    in_pixels,
    match,
)
from darkroom.images.decode import Pixels

VERSION = "5"  # raise it when the same two pictures give other evidence

SIDE_PX = 160  # long side for comparing
THUMB_PX = 32
# Normalised similarity from which a second try is worth it, and from which a pair is looked at
# whatever its descriptors say.
NEAR, VERY_NEAR = 0.45, 0.6
FLAT_STD = 1.5  # grey levels; below this a picture has no structure to verify
ALIKE, HARDLY_ALIKE = 0.85, 0.6  # correlation of thumbnails: lies as it is; may be made to lie
SURE_AGREEMENT = 0.7  # with less, the whole pictures are tried as well
PROMISING, SURE = 12, 24  # matches that fit: worth a look at the pictures, and a second try
HARDLY_ALIGNED, SURELY_ALIGNED = 0.25, 0.9  # agreement between which a finer alignment is tried
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

    inliers: int  # matching places that fit the map; 0 where the whole pictures were laid on
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
        """Keep the descriptors of its places, and how to read it."""
        self.local, self._read = local, read

    @cached_property
    def grey(self) -> Grey:
        """Return the picture, its long side SIDE_PX."""
        pixels = self._read()
        scale = SIDE_PX / max(pixels.shape[:2])
        size = (max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=method)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def is_flat(self) -> bool:
        """Return whether it has no structure to verify."""
        return float(np.std(self._smooth)) < FLAT_STD

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
    def coarse(self) -> Points:
        """Return the points of the picture at half its size."""
        half = cv2.resize(self._smooth, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return Points(np.asarray(half, np.float32), 3)

    @cached_property
    def fine(self) -> Points:
        """Return the points of the picture."""
        return Points(np.asarray(cv2.GaussianBlur(self._float, (0, 0), 1.0), np.float32), 5)

    @property
    def _float(self) -> NDArray[np.float32]:
        return self.grey.astype(np.float32)

    @cached_property
    def _smooth(self) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(self._float, (0, 0), 2.0), np.float32)


def compare(a: Picture, b: Picture, normalised: float) -> Evidence:
    """Return the evidence of the best alignment of the two pictures.

    It depends on the two and their normalised similarity alone; `a` is the one of the smaller key.
    """
    matches = match(a.local, b.local)
    matching = matches.strength >= MIN_STRENGTH and matches.coherent >= MIN_COHERENT
    found = find_map(matches) if matching else None
    if normalised < VERY_NEAR and (found is None or found.fitting < PROMISING):
        return NOTHING
    if a.is_flat or b.is_flat:
        return NOTHING
    alike = b.thumbs @ a.thumbs[0]  # (8,)
    turn = int(np.argmax(alike))
    if alike[turn] >= ALIKE:
        laid = lay(a, b, _turn(turn), 0)
        if is_same_whole(laid):
            return laid
    best = NOTHING
    if found is not None and _is_plausible(found.matrix, a, b):
        best = _align(a, b, found, found.support)
    hopeful = normalised >= NEAR and found is not None and found.fitting >= SURE
    if best.agreement < SURE_AGREEMENT and hopeful:
        found = find_map(matches, again=True)
        if found is not None and _is_plausible(found.matrix, a, b):
            best = max(best, _align(a, b, found), key=_agreement)
    if best.agreement < SURE_AGREEMENT and normalised >= NEAR and alike[turn] >= HARDLY_ALIKE:
        refined = _align(a, b, Map(_turn(turn), 0))
        # A free change lays any edge over any other.
        if _is_small_change(refined.matrix, _turn(turn)):
            best = max(best, refined, key=_agreement)
    return best


def is_same_whole(evidence: Evidence) -> bool:
    """Return whether the whole pictures agree so well as they lie that matches add nothing."""
    return (
        evidence.inliers == 0
        and evidence.agreement >= WHOLE_AGREEMENT
        and evidence.mse <= WHOLE_MSE
    )


def _turn(number: int) -> Matrix:
    """Return the map of one of the eight turns and flips, in the order of `Picture.thumbs`."""
    linear = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), number % 4)
    if number >= 4:
        linear = linear @ np.diag([-1.0, 1.0])
    middle = np.full(2, GRID / 2)
    return np.asarray(np.c_[linear, middle - linear @ middle], np.float64)


def _align(
    a: Picture, b: Picture, found: Map, support: NDArray[np.bool_] | None = None
) -> Evidence:
    """Return the evidence after refining the map, at half the size first."""
    coarse = refine(a.coarse, b.coarse.level, found.matrix, 12, support)
    if coarse is None or not _is_plausible(coarse, a, b):
        return NOTHING
    best = lay(a, b, coarse, found.fitting)
    if HARDLY_ALIGNED <= best.agreement < SURELY_ALIGNED:
        fine = refine(a.fine, b.fine.level, coarse, 8, support)
        if fine is not None and _is_plausible(fine, a, b):
            best = max(best, lay(a, b, fine, found.fitting), key=_agreement)
    return best


def _agreement(evidence: Evidence) -> float:
    return evidence.agreement


def _is_plausible(matrix: Matrix, a: Picture, b: Picture) -> bool:
    """Refuse maps that no copy has: scale beyond 4, strong shear, also of one that is squared."""
    in_places = np.linalg.svd(matrix[:, :2], compute_uv=False)
    stretch = np.linalg.svd(in_pixels(matrix, a.grey.shape, b.grey.shape)[:, :2], compute_uv=False)
    return bool(
        stretch[0] < 4
        and stretch[1] > 0.25
        and (stretch[0] / stretch[1] < 2 or in_places[0] / in_places[1] < 2)
    )


def _is_small_change(matrix: Matrix, before: Matrix) -> bool:
    """Return whether two maps put every corner within a quarter of the side."""
    corners = np.array([[0, 0, 1], [GRID, 0, 1], [0, GRID, 1], [GRID, GRID, 1]], np.float64)
    return bool(np.abs(corners @ (matrix - before).T).max() <= GRID / 4)


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
    own = picture.size * abs(float(np.linalg.det(pixels[:, :2])))
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
    warped = np.asarray(cv2.warpAffine(picture, pixels, (width, height)), np.uint8)
    one, other = (_fine(each, covered)[every, every].copy() for each in (target, warped))
    shares, ssim, contrast = _compare_detail(one, other, core, 1.0)
    if NO_DETAIL <= contrast < PLAIN and shares[0] < SURE_AGREEMENT:
        shares, ssim, _ = _compare_detail(one, other, core, COARSER)
    error = float(np.mean((_standard(one[core]) - _standard(other[core])) ** 2))
    return Evidence(inliers, overlap, *shares, ssim, error, *where)


def _fine(picture: Grey, covered: NDArray[np.bool_]) -> Band:
    """Return the smoothed picture, with its mean where the two do not overlap."""
    values = picture.astype(np.float32)
    if not covered.all():
        values = np.where(covered, values, values[covered].mean()).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), FINE_SIGMA), np.float32)


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
    height, width = (length // TILE * TILE for length in detail.shape)
    if not height or not width:
        return 0.0, 0.0
    agreeing, detailed = (
        each[:height, :width].reshape(height // TILE, TILE, width // TILE, TILE).sum(axis=(1, 3))
        for each in (agrees, detail)
    )
    used = detailed >= TILE * TILE // 4
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


def _standard(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return values of zero mean and unit variance."""
    return np.asarray((values - values.mean()) / (values.std() + 1e-6), np.float32)


def _evened_band(values: Band, core: NDArray[np.bool_], coarser: float) -> tuple[Band, Band, float]:
    """Return (band, local, contrast) of what lies between noise and shading.

    `local` is the contrast around each pixel in units of `contrast`, which is its mean over the
    core in grey levels; the band is divided by it.
    """
    if coarser > 1:
        extra = FINE_SIGMA * np.sqrt(coarser**2 - 1) / SSIM_STEP
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), extra), np.float32)
    band = values - cv2.GaussianBlur(values, (0, 0), COARSE_SIGMA * coarser / SSIM_STEP)
    local = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), WINDOW_SIGMA * coarser / SSIM_STEP))
    contrast = float(local[core].mean()) + 1e-6
    evened = np.asarray(band / (local + 0.2 * contrast), np.float32)
    return evened, np.asarray(local / contrast, np.float32), contrast
