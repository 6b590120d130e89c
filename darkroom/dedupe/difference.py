"""What differs between two aligned pictures: nothing, what lies on one, or what they show.

1. The coarse alignment is refined to a fraction of a pixel (Lucas and Kanade 1981), robustly, so
   that what differs does not pull at it.
2. Greys of one are brought to those of the other by one smooth curve, fitted robustly: brightness,
   contrast, gamma. The sharper one is blurred as far as the other; slow shading is taken off.
3. What is left is compared with what is to be expected there: noise, read off the plain places, and
   an error in proportion to the gradient (compression, resampling), read off the edges. Both are
   read off these two pictures, within limits: another number in every field of a form is no noise.
4. Connected pixels far beyond that, taken together, are a difference. It makes two pictures of two
   things, unless it is a caption, a sticker or padding: large, of one or two tones in one of the
   two, on pictures that have many tones, and nearly all that differs.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from darkroom.dedupe.align import Floats, Mask, Matrix, align, blurred, gradient, whole
from darkroom.images.decode import Pixels

TONE_POINTS, NOISE_POINTS = 6000, 20_000
POWERS = (1.0, 0.45, 0.55, 0.67, 0.82, 1.22, 1.5, 1.8, 2.2)  # of greys: gamma, tried first
LINES, LINE_POINTS = 60, 300  # that are tried as the curve's beginning, and judged by
FAR_OFF = 20.0  # grey levels, from where on it does not matter how far
CURVE_PARTS = 16  # of the curve of greys, for what no polynomial of third degree follows
BASE, MAX_NOISE, MAX_SLIP = 3.0, 8.0, 0.5  # grey levels, grey levels, px
BEYOND = 2.5  # times what is expected: such pixels differ
MIN_MASS = 40.0  # sum over connected pixels of what is beyond, in units of what is expected …
SMALL_PX = 130  # … and in proportion to the side of what is compared below this
MIN_CORE_PX, MIN_CORE = 400, 0.02  # fewer compared pixels, or a smaller share, prove nothing
MIN_LAID_OVER, MAX_LAID_OVER = 0.03, 0.35  # of the compared pixels
# Shares of what lies over that are of one tone or two: a sticker, a logo, a strip with letters.
ONE_TONE, LOGO, TWO_TONES = 0.88, 0.92, 0.7
FEW_TONES = 0.75  # a photograph has no two greys that make up more of it
MIN_WIDE = 0.5  # of its side: a strip
SIGMAS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)  # px, blurs that are tried
WINDOW_PX = 256  # where sharpness is compared


FINER = 8  # steps per grey level in a table
SQUARE = np.ones((3, 3), np.uint8)


class Difference(NamedTuple):
    """What differs in the strongest connected place."""

    differs: bool  # they show different things
    mass: float  # how much is beyond what is expected there, summed over its pixels
    share: float  # of the compared pixels, with its near surroundings
    laid_over: bool  # a caption, a sticker or padding


NONE = Difference(False, 0.0, 0.0, False)


def differs(a: Pixels, b: Pixels, matrix: Matrix) -> Difference:
    """Return what differs, in either order the same.

    `matrix` (2, 3) maps pixels x, y of `b` to those of `a`, right to some hundredths of their size.
    """
    growth = float(np.log(abs(np.linalg.det(matrix[:, :2]))))
    if growth > 0.1 or (growth > -0.1 and a.tobytes() > b.tobytes()):  # the coarser is the frame
        a, b, matrix = b, a, np.linalg.inv(whole(matrix))[:2]
    target, picture, covered = align(a, b, matrix)
    return _judge(target, picture, covered)


def _judge(target: Floats, picture: Floats, covered: Mask) -> Difference:
    rim = max(3, round(max(target.shape) / 100))
    inside = np.pad(covered.astype(np.uint8), 1)
    core = cv2.erode(inside, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8))[1:-1, 1:-1].astype(bool)
    if core.sum() < max(MIN_CORE_PX, MIN_CORE * core.size):
        return NONE
    raw = target, picture
    picture = _toned(target, picture, core)
    target, picture = _equally_sharp(target, picture, core)
    target, picture = blurred(target, 1.0), blurred(picture, 1.0)
    off = _without_shading(target - picture, core)
    slope = np.maximum(gradient(target), gradient(picture))
    slope = np.asarray(cv2.dilate(slope, SQUARE), np.float32)
    noise, slip = _expected(off, slope, core)
    beyond = np.maximum(np.abs(off) / (BASE + noise + slip * slope) - BEYOND, 0)
    enough = MIN_MASS * min(1.0, float(np.sqrt(core.sum()) / SMALL_PX))
    if beyond.sum() < enough:
        return NONE._replace(mass=float(beyond.sum()))
    places = cv2.morphologyEx((beyond > 0).astype(np.uint8), cv2.MORPH_CLOSE, SQUARE)
    masses = _masses(places > 0, beyond)[1]
    if masses.max() < enough:
        return NONE._replace(mass=float(masses.max()))
    share, laid = _is_laid_over(raw, core, beyond, noise, enough)
    return Difference(not laid, float(masses.max()), share, laid)


def _masses(places: Mask, beyond: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the number of each pixel's place, 0 for none, and what each place holds."""
    count, numbers = cv2.connectedComponents(places.astype(np.uint8), connectivity=8)
    numbers = np.asarray(numbers)
    there = places & (beyond > 0)
    return numbers, np.bincount(numbers[there], beyond[there], count)


def _is_laid_over(
    raw: tuple[Floats, Floats], core: Mask, beyond: Floats, noise: float, enough: float
) -> tuple[float, bool]:
    """Return the share of the strongest place, and whether it looks laid over a photograph.

    All that differs then lies in one large place, which in one of the two pictures is of one tone,
    or of two, a logo or letters on a strip along a side. Drawings have few tones throughout: of
    them a bar of another height would be a sticker.
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
    if any(_tones(picture, core, noise)[1] > FEW_TONES for picture in raw):
        return share, False
    middle = cv2.erode(hull.astype(np.uint8), SQUARE, iterations=2) > 0  # the rim mixes both
    one, two = np.max([_tones(picture, middle, noise) for picture in raw], axis=0)
    if MIN_LAID_OVER <= share <= MAX_LAID_OVER and (one >= ONE_TONE or two >= LOGO):
        return share, True
    strip = _strip(differing, core)
    laid = MIN_LAID_OVER <= strip.sum() / core.sum() <= MAX_LAID_OVER
    return share, bool(laid) and max(_tones(p, strip, noise)[1] for p in raw) >= TWO_TONES


def _strip(differing: Mask, core: Mask) -> Mask:
    """Return the box around all that differs, if it lies along a side; nothing otherwise."""
    box = np.zeros_like(core)
    (top, bottom), (left, right) = (
        (int(at[0]), int(at[-1]) + 1)
        for at in (np.flatnonzero(differing.any(axis)) for axis in (1, 0))
    )
    height, width = core.shape
    lying = right - left >= MIN_WIDE * width and min(top, height - bottom) <= height / 8
    standing = bottom - top >= MIN_WIDE * height and min(left, width - right) <= width / 8
    if lying or standing:
        box[top:bottom, left:right] = core[top:bottom, left:right]
    return box


def _tones(picture: Floats, place: Mask, noise: float) -> tuple[float, float]:
    """Return the shares of the place that are of its commonest grey, and of its two commonest."""
    counts = np.bincount(picture[place].astype(np.int64), minlength=256)[:256].astype(np.float64)
    if not counts.sum():
        return 0.0, 0.0
    reach = round(6 + noise)
    shares = []
    for _ in range(2):
        sums = np.convolve(counts, np.ones(2 * reach + 1), "same")
        at = int(sums.argmax())
        shares.append(sums[at] / picture[place].size)
        counts[max(0, at - 2 * reach) : at + 2 * reach + 1] = 0
    return float(shares[0]), float(sum(shares))


def _toned(target: Floats, picture: Floats, core: Mask) -> Floats:
    """Return `picture` with its greys on the curve that brings most of them to the target's."""
    x, y = (_some(p, core, TONE_POINTS).astype(np.float64) for p in (picture, target))
    bent = [255 * (x / 255) ** power for power in POWERS]
    lines = [_line(values, y) for values in bent]
    best = min(range(len(POWERS)), key=lambda at: lines[at].error)
    x, slope, off = bent[best], lines[best].slope, lines[best].off
    middle, spread = x.mean(), x.std() + 1e-6
    powers = np.vander((x - middle) / spread, 4)
    low, high = np.quantile(x, [0.002, 0.998])
    for step, least in enumerate((12, 12, 6, 6, 2, 2) * 2):
        scale = max(least, 1.5 * float(np.median(np.abs(off))))
        weight = 1 / (1 + (off / (2 * scale)) ** 2) ** 2
        terms = powers[:, 2:] if step < 6 else powers  # a line first: it is harder to lead astray
        weighted = terms * weight[:, None]
        ridge = 1e-6 * len(x) * np.eye(terms.shape[1])
        found = np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ y)
        slope = max(0.0, found[0] / spread) if step < 6 else slope
        off = y - terms @ found
    near = np.abs(off) <= 4 * scale
    parts = np.array_split(np.flatnonzero(near)[np.argsort(x[near], kind="stable")], CURVE_PARTS)
    bends = np.array([(x[part].mean(), np.median(off[part])) for part in parts if len(part)]).T
    greys = 255 * (np.arange(256) / 255) ** POWERS[best]
    seen = np.clip(greys, low, high)
    curve = np.vander((seen - middle) / spread, 4) @ found + (greys - seen) * slope
    if bends.size:
        curve += np.interp(greys, *bends)
    table = np.interp(np.arange(256 * FINER) / FINER, np.arange(256), curve).astype(np.float32)
    return np.asarray(table[(picture * FINER).astype(np.int16)], np.float32)


class _Line(NamedTuple):
    error: float  # mean over the points, what is far off counting alike
    slope: float
    off: NDArray[np.float64]  # how far off each point is


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> _Line:
    """Return the line through two of the points that most of them are near.

    A fifth of the picture may be a caption, and lead a fit to all of them astray.
    """
    one, two = np.random.default_rng(0).integers(0, len(x), (2, LINES))
    rise = (y[two] - y[one]) / np.where(np.abs(x[two] - x[one]) < 8, np.inf, x[two] - x[one])
    slopes = np.append(np.clip(rise, 0.2, 5), 1.0)
    bases = np.append(y[one] - slopes[:-1] * x[one], 0.0)
    few = slice(None, None, max(1, len(x) // LINE_POINTS))
    far = np.abs(y[few] - slopes[:, None] * x[few] - bases[:, None])
    error = np.minimum(far, FAR_OFF).mean(axis=1)
    best = int(error.argmin())
    return _Line(float(error[best]), float(slopes[best]), y - slopes[best] * x - bases[best])


def _equally_sharp(target: Floats, picture: Floats, core: Mask) -> tuple[Floats, Floats]:
    """Blur the sharper one as far as the other, judged where both have most detail."""
    height, width = target.shape
    size = min(width, WINDOW_PX), min(height, WINDOW_PX)
    shared = np.minimum(_fine(target), _fine(picture)) * (core & (np.abs(target - picture) < 25))
    detail = cv2.boxFilter(shared, -1, size, borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(int(detail.argmax()), detail.shape)
    top, left = (
        max(0, min(y - size[1] // 2, height - size[1])),
        max(0, min(x - size[0] // 2, width - size[0])),
    )
    window = np.s_[top : top + size[1], left : left + size[0]]
    a, b = np.ascontiguousarray(target[window]), np.ascontiguousarray(picture[window])
    same = core[window] & (np.abs(a - b) < 25)
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
    size, slope = (np.abs(_some(p, core, NOISE_POINTS)) for p in (off, slope))
    plain, edges = slope <= np.quantile(slope, 0.4), slope >= np.quantile(slope, 0.9)
    noise = 1.48 * float(np.median(size[plain]))
    slip = 1.48 * float(np.median(size[edges] / (slope[edges] + 1e-3)))
    return min(noise, MAX_NOISE), min(slip, MAX_SLIP)


def _some(values: Floats, core: Mask, most: int) -> Floats:
    """Return about so many values of the core, evenly spread."""
    step = max(1, int(np.sqrt(values.size / most / 2)))
    return values[::step, ::step][core[::step, ::step]]
