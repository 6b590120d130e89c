"""What differs between two aligned pictures: nothing, what lies on one, or what they show.

1. The coarse alignment is refined to a fraction of a pixel (`align`). Where much of the detail
   lies elsewhere all the same, the camera has moved: it is another shot.
2. Greys of one are brought to those of the other by one curve, the median of what lies on each
   grey: brightness, contrast, gamma. The sharper one is blurred as far as the other; slow shading
   is taken off.
3. What is left is compared with what is to be expected there: noise, read off the plain places, and
   an error in proportion to the gradient (compression, resampling), read off the edges. Both are
   read off these two pictures, within limits: another number in every field of a form is no noise.
4. Connected pixels far beyond that, taken together, are a difference. It makes two pictures of two
   things, unless it is a caption, a sticker or padding: one large place on a photograph, which
   differs throughout and is mostly of one tone in one of the two.
5. So does noise that edits do not leave, where no compression shows, and so does too little to
   compare: what proves no copy stays.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.align import (
    Aligned,
    Floats,
    Mask,
    Matrix,
    align,
    blurred,
    gradient,
    grey_of,
    whole,
)
from darkroom.images.decode import Pixels

POINTS = 8_000  # that tones and noise are read off
BINS, FEW_IN_BIN = 64, 5  # of greys, and the weight of points from which one counts
DEGREES = (1, 1, 1, 2, 2, 3, 3)  # of the curve that most bins are near, one fit after the other
LEAST_SCALE, CLIPPED = 4.0, 4  # grey levels
BASE, MAX_NOISE, MAX_SLIP = 3.0, 8.0, 0.5  # grey levels, grey levels, px
NO_COPYS_NOISE = 3.5  # grey levels; only strong compression, whose blocks show, leaves more
BLOCK_PX, LEAST_STEP, BLOCKY = (
    8,
    0.3,
    1.3,
)  # how much larger steps between the blocks of a JPEG are than within
BEYOND = 2.5  # times what is expected: such pixels differ
MIN_MASS = 40.0  # sum over connected pixels of what is beyond, in units of what is expected …
SMALL_PX = 130  # … and in proportion to the side of what is compared below this
MIN_CORE_PX, MIN_CORE = 400, 0.02  # fewer compared pixels, or a smaller share, prove no copy
MIN_LAID_OVER, MAX_LAID_OVER = 0.03, 0.35  # of the compared pixels
FILLED, ONE_TONE = 0.5, 0.65  # of the place: of another grey; of one grey in one of the two
FEW_TONES = 0.85  # a photograph has no two greys that make up more of it
SIGMAS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2, 4.0)  # px, blurs that are tried
WINDOW_PX, EVERY = 128, 8  # where sharpness is compared; steps in which that place is sought


FINER = 8  # steps per grey level in a table
SQUARE = np.ones((3, 3), np.uint8)


class Difference(NamedTuple):
    """What differs in the strongest connected place."""

    differs: bool  # they show different things
    mass: float  # how much is beyond what is expected there, summed over its pixels
    share: float  # of the compared pixels, with its near surroundings
    laid_over: bool  # a caption, a sticker or padding
    noise: float  # how far plain places that agree differ, grey levels


NONE = Difference(False, 0.0, 0.0, False, 0.0)


def differs(a: Pixels, b: Pixels, matrix: Matrix) -> Difference:
    """Return what differs, in either order the same.

    `matrix` (2, 3) maps pixels x, y of `b` to those of `a`, right to some hundredths of their size.
    """
    growth = float(np.log(abs(np.linalg.det(matrix[:, :2]))))
    if growth > 0.1 or (growth > -0.1 and a.tobytes() > b.tobytes()):  # the coarser is the frame
        a, b, matrix = b, a, np.linalg.inv(whole(matrix))[:2]
    laid = align(a, b, matrix)
    if laid is None:
        return NONE._replace(differs=True, mass=np.inf, share=1.0)
    found = _judge(laid)
    if found.noise > NO_COPYS_NOISE and max(blockiness(a), blockiness(b)) < BLOCKY:
        return found._replace(differs=True, laid_over=False)
    return found


def blockiness(pixels: Pixels) -> float:
    """Return how much larger steps between the blocks of a JPEG are than within; 1 without any."""
    grey = grey_of(pixels).astype(np.float32)
    steps = (
        np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        for axis in (0, 1)
        if grey.shape[axis] > 2 * BLOCK_PX
    )
    ratios = []
    for each in steps:
        between = np.arange(len(each)) % BLOCK_PX == BLOCK_PX - 1
        ratios.append((each[between].mean() + LEAST_STEP) / (each[~between].mean() + LEAST_STEP))
    return float(np.mean(ratios)) if ratios else 1.0


def _judge(laid: Aligned) -> Difference:
    target, picture = laid.target, laid.picture
    rim = max(3, round(max(target.shape) / 100))
    inside = np.pad(laid.covered.astype(np.uint8), 1)
    core = cv2.erode(inside, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8))[1:-1, 1:-1].astype(bool)
    if core.sum() < max(MIN_CORE_PX, MIN_CORE * core.size):
        return NONE._replace(differs=True)
    weight = cv2.resize(laid.weight, target.shape[::-1], interpolation=cv2.INTER_NEAREST) * core
    trusted = weight > 0
    if trusted.sum() < core.sum() / 4:
        weight, trusted = core.astype(np.float32), core
    raw = target, picture
    picture = _toned(target, picture, weight)
    target, picture = _equally_sharp(target, picture, weight)
    target, picture = blurred(target, 1.0), blurred(picture, 1.0)
    off = _without_shading(target - picture, core)
    slope = np.maximum(gradient(target), gradient(picture))
    slope = np.asarray(cv2.dilate(slope, SQUARE), np.float32)
    noise, slip = _expected(off, slope, trusted)
    beyond = np.maximum(np.abs(off) / (BASE + noise + slip * slope) - BEYOND, 0)
    enough = MIN_MASS * min(1.0, float(np.sqrt(core.sum()) / SMALL_PX))
    if beyond.sum() < enough:
        return NONE._replace(mass=float(beyond.sum()), noise=noise)
    places = cv2.morphologyEx((beyond > 0).astype(np.uint8), cv2.MORPH_CLOSE, SQUARE)
    masses = _masses(places > 0, beyond)[1]
    if masses.max() < enough:
        return NONE._replace(mass=float(masses.max()), noise=noise)
    share, over = _is_laid_over(raw, core, beyond, noise, enough)
    return Difference(not over, float(masses.max()), share, over, noise)


def _masses(places: Mask, beyond: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the number of each pixel's place, 0 for none, and what each place holds."""
    count, numbers = cv2.connectedComponents(places.astype(np.uint8), connectivity=8)
    numbers = np.asarray(numbers)
    there = places & (beyond > 0)
    return numbers, np.bincount(numbers[there], beyond[there], count)


def _is_laid_over(
    raw: tuple[Floats, Floats], core: Mask, beyond: Floats, noise: float, enough: float
) -> tuple[float, bool]:
    """Return the share of the place that differs, and whether it looks laid over a photograph.

    It is large; little of it has the same grey in both, since nothing of what is below shows; in
    one of the two it is mostly of one tone. Drawings have few tones throughout: of them a bar of
    another height would be a sticker.
    """
    near = max(3, round(max(core.shape) / 40)) | 1
    wide = np.pad((beyond > 0).astype(np.uint8), near)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (near, near))
    joined = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc)[near:-near, near:-near]
    numbers, masses = _masses(joined > 0, beyond)
    differing = (masses >= min(enough, masses.max()))[numbers] & (numbers > 0)
    if not differing.any():
        return 0.0, False
    corners = cv2.convexHull(np.argwhere(differing)[:, ::-1].astype(np.int32))
    hull = cv2.fillConvexPoly(np.zeros(core.shape, np.uint8), corners, 1).astype(bool) & core
    share = float(hull.sum() / core.sum())
    middle = cv2.erode(hull.astype(np.uint8), SQUARE, iterations=2) > 0  # the rim mixes both
    if not MIN_LAID_OVER <= share <= MAX_LAID_OVER or not middle.any():
        return share, False
    reach = round(6 + noise)
    apart = np.abs(raw[0] - raw[1])[middle] > reach
    laid = (
        apart.mean() >= FILLED
        and any(_tones(picture[middle], reach)[0] >= ONE_TONE for picture in raw)
        and all(sum(_tones(picture[core], reach)) <= FEW_TONES for picture in raw)
    )
    return share, bool(laid)


def _tones(greys: Floats, reach: int) -> list[float]:
    """Return the shares of the commonest tone, so many grey levels to either side, and the next."""
    counts = np.bincount(greys.astype(np.int64), minlength=256).astype(np.float64)
    shares = []
    for _ in range(2):
        sums = np.convolve(counts, np.ones(2 * reach + 1), "same")
        at = int(sums.argmax())
        shares.append(float(sums[at]) / greys.size)
        counts[max(0, at - 2 * reach) : at + 2 * reach + 1] = 0
    return shares


def _toned(target: Floats, picture: Floats, weight: Floats) -> Floats:
    """Return `picture` with its greys on the curve that brings most of them to the target's.

    Where it is clipped, whatever is beyond the end of the curve is the same.
    """
    step = max(1, int(np.sqrt(target.size / POINTS)))
    x, y, sure = (part[::step, ::step].ravel() for part in (picture, target, weight))
    at = np.arange(BINS) * (256 / BINS) + 128 / BINS - 0.5
    cell = (x * (BINS / 256)).astype(np.int64) * 256 + y.astype(np.int64)
    counts = np.bincount(cell, sure, BINS * 256).reshape(BINS, 256).cumsum(axis=1)
    held = counts[:, -1] >= FEW_IN_BIN
    held[[0, -1]] = False
    if held.sum() < 4:
        return picture
    at, counts = at[held], counts[held]
    middle = (counts >= counts[:, -1:] / 2).argmax(axis=1).astype(np.float64)
    powers, known, slope = np.vander(at / 128 - 1, 4), np.sqrt(counts[:, -1]), 1.0
    off = middle - at - np.median(middle - at)
    for degree in DEGREES:
        scale = max(LEAST_SCALE, 1.5 * float(np.median(np.abs(off))))
        trust = known / (1 + (off / (2 * scale)) ** 2) ** 2
        terms = powers[:, -1 - degree :]
        weighted = terms * trust[:, None]
        ridge = 1e-4 * trust.sum() * np.eye(degree + 1)
        fit = np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ middle)
        off = middle - terms @ fit
        slope = max(0.2, fit[0] / 128) if degree == 1 else slope
    near = np.abs(off) <= 4 * scale
    if near.sum() < 2:
        return picture
    greys = np.arange(256 * FINER) / FINER
    at, middle = at[near], middle[near]
    curve = np.interp(greys, at, middle) + slope * (greys - np.clip(greys, at[0], at[-1]))
    curve = np.clip(curve, 0, 255).astype(np.float32)
    found = np.asarray(curve[(picture * FINER).astype(np.int16)], np.float32)
    bright, dark = picture > 255 - CLIPPED, picture < CLIPPED
    found[bright] = np.maximum(found[bright], target[bright])
    found[dark] = np.minimum(found[dark], target[dark])
    return found


def _equally_sharp(target: Floats, picture: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Blur the sharper one as far as the other, judged where most of it tells."""
    height, width = target.shape
    size = min(width, WINDOW_PX), min(height, WINDOW_PX)
    few = (max(1, size[0] // EVERY), max(1, size[1] // EVERY))
    telling = cv2.blur(weight[::EVERY, ::EVERY], few, borderType=cv2.BORDER_CONSTANT)
    y, x = (int(at) * EVERY for at in np.unravel_index(int(telling.argmax()), telling.shape))
    top, left = (
        max(0, min(y - size[1] // 2, height - size[1])),
        max(0, min(x - size[0] // 2, width - size[0])),
    )
    window = np.s_[top : top + size[1], left : left + size[0]]
    a, b = np.ascontiguousarray(target[window]), np.ascontiguousarray(picture[window])
    same = (weight[window] > 0) & (np.abs(a - b) < 25)
    if same.sum() < MIN_CORE_PX // 2:
        return target, picture
    sharper = int(_fine(b)[same].mean() > _fine(a)[same].mean())
    plain = (b, a)[sharper]
    chosen, least = 0.0, np.inf
    for sigma in SIGMAS:
        error = float(np.abs(blurred((a, b)[sharper], sigma) - plain)[same].mean())
        if error >= least:
            break
        chosen, least = sigma, error
    both = [target, picture]
    both[sharper] = blurred(both[sharper], chosen)
    return both[0], both[1]


def _fine(grey: Floats) -> Floats:
    """Return how much of each pixel is finer than a blur."""
    return np.asarray(np.abs(grey - blurred(grey, 1.0)), np.float32)


def _without_shading(off: Floats, core: Mask) -> Floats:
    """Return differences in the core without those that change slowly over the picture."""
    weight, small = (
        cv2.resize(p, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
        for p in (core.astype(np.float32), np.clip(off, -15, 15) * core)
    )
    far = max(weight.shape) / 8
    shading = blurred(np.asarray(small, np.float32), far) / (
        blurred(np.asarray(weight, np.float32), far) + 1e-3
    )
    return np.asarray((off - cv2.resize(shading, off.shape[::-1])) * core, np.float32)


def _expected(off: Floats, slope: Floats, core: Mask) -> tuple[float, float]:
    """Return the noise of plain places in grey levels, and the error at edges in pixels."""
    size, slope = (np.abs(_some(p, core, POINTS)) for p in (off, slope))
    plain, edges = slope <= np.quantile(slope, 0.4), slope >= np.quantile(slope, 0.9)
    noise = 1.48 * float(np.median(size[plain]))
    slip = 1.48 * float(np.median(size[edges] / (slope[edges] + 1e-3)))
    return min(noise, MAX_NOISE), min(slip, MAX_SLIP)


def _some(values: Floats, core: Mask, most: int) -> Floats:
    """Return about so many values of the core, evenly spread."""
    step = max(1, int(np.sqrt(values.size / most / 2)))
    return values[::step, ::step][core[::step, ::step]]
