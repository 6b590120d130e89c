"""Verification: is one picture really an edit of the other? Geometry first, then structure.

SIFT keypoints (Lowe 2004) of one picture are matched to those of the other and of its mirror image,
and a similarity transform is fitted by RANSAC; SIFT covers rotations, the mirror image covers
flips. Where texture gives too few keypoints, the eight right-angle turns and flips are tried and
refined by ECC (Evangelidis and Psarakis 2008). One picture is then warped onto the other and
compared by the structure term of SSIM (Wang et al. 2004, eq. 10) of band-passed grey in Gaussian
windows: it does not see brightness, contrast, shading or fine noise, which edits change. Of its
values the median, weighted by local contrast, is taken over the overlap, so that flat areas have
no say and a caption or a sticker does not decide.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.lib.pixels import Pixels

SIDE_PX = 160  # long side for comparing; SIFT itself looks at twice of it
RATIO = 0.85  # Lowe's ratio test; loose, since RANSAC sorts out the rest
MIN_MATCHES = 6
SURE_INLIERS = 8  # with fewer, the whole pictures are tried as well
FLAT_STD = 1.5  # grey levels; below this a picture has no structure to verify
FINE_SIGMA, COARSE_SIGMA = 1.5, 8.0  # px: the band that is compared
WINDOW_SIGMA = 5.0  # px
MIN_CORE_PX = 400  # fewer compared pixels prove nothing

Grey = NDArray[np.uint8]  # (height, width)


class Evidence(NamedTuple):
    """What verification found for the best alignment of a pair."""

    inliers: int  # matched keypoints that obey the transform
    overlap: float  # share of the smaller picture that the other covers, in [0, 1]
    structure: float  # median local structure term of SSIM in the overlap, in [-1, 1]
    likeness: float  # correlation of the smoothed grey values in the overlap, in [-1, 1]


NOTHING = Evidence(0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Prepared:
    """A picture ready for verification."""

    grey: Grey
    flat: bool
    points: NDArray[np.float32]  # (n, 2) x, y in pixels of `grey`
    descriptors: NDArray[np.float32]  # (n, 128)
    mirrored_points: NDArray[np.float32]
    mirrored_descriptors: NDArray[np.float32]


def prepare(pixels: Pixels) -> Prepared:
    """Reduce a picture (height, width, 3) to grey and find its keypoints, mirrored ones too."""
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    scale = SIDE_PX / max(grey.shape)
    size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = np.asarray(cv2.resize(grey, size, interpolation=method), np.uint8)
    points, descriptors = _keypoints(grey)
    mirrored_points, mirrored_descriptors = _mirror(points, descriptors, grey.shape[1])
    flat = float(np.std(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2))) < FLAT_STD
    return Prepared(grey, flat, points, descriptors, mirrored_points, mirrored_descriptors)


@lru_cache(maxsize=1)
def _sift() -> Any:
    return cv2.SIFT.create(nfeatures=300, contrastThreshold=0.01)


def _keypoints(grey: Grey) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found, descriptors = _sift().detectAndCompute(grey, None)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    # RootSIFT (Arandjelović and Zisserman 2012): Hellinger distance matches better.
    root = np.sqrt(descriptors / (descriptors.sum(axis=1, keepdims=True) + 1e-7))
    return np.array([point.pt for point in found], np.float32), root.astype(np.float32)


def _mirror(
    points: NDArray[np.float32], descriptors: NDArray[np.float32], width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the keypoints of the mirror image, without seeking them there.

    A descriptor is 4 rows x 4 columns x 8 directions in the keypoint's own frame, of which a mirror
    reverses the rows and the sense of direction.
    """
    mirrored_points = points.copy()
    mirrored_points[:, 0] = width - 1 - points[:, 0]
    frames = descriptors.reshape(-1, 4, 4, 8)[:, ::-1]
    turned = frames[..., [0, 7, 6, 5, 4, 3, 2, 1]]
    return mirrored_points, np.ascontiguousarray(turned.reshape(-1, 128))


def compare(a: Prepared, b: Prepared, whole: bool) -> Evidence:
    """Return the evidence of the best alignment of `b` onto `a`.

    `whole` also tries the whole pictures, turned and flipped, where keypoints do not decide. Two
    plain pictures (an edge, a gradient) may well align by chance: ask for it only when the
    embeddings are near, and believe it only then.
    """
    if a.flat or b.flat:
        return NOTHING
    found = [_by_keypoints(a, b, mirrored) for mirrored in (False, True)]
    best = max(found, key=lambda e: (e.structure, e))
    if whole and (best.inliers < SURE_INLIERS or best.structure < 0.8 or best.overlap < 0.75):
        best = max(best, _by_turns(a, b), key=lambda e: (e.structure, e))
    return best


def _by_keypoints(a: Prepared, b: Prepared, mirrored: bool) -> Evidence:
    points = b.mirrored_points if mirrored else b.points
    descriptors = b.mirrored_descriptors if mirrored else b.descriptors
    matches = _match(a.descriptors, descriptors)
    if len(matches) < MIN_MATCHES:
        return NOTHING
    source, target = points[matches[:, 1]], a.points[matches[:, 0]]
    found, inside = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=3.0, maxIters=1000
    )
    if found is None:
        return NOTHING
    matrix = np.asarray(found, np.float64)
    if not _is_plausible(matrix):
        return NOTHING
    picture = np.ascontiguousarray(b.grey[:, ::-1]) if mirrored else b.grey
    return Evidence(int(inside.sum()), *_agreement(a.grey, picture, matrix))


def _match(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return index pairs (m, 2) that pass the ratio test, each keypoint of `b` used once."""
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = a @ b.T  # (n, m), unit vectors
    order = np.argpartition(-similarity, 1, axis=1)[:, :2]
    two = np.take_along_axis(similarity, order, axis=1)
    best = np.where(two[:, 0] >= two[:, 1], order[:, 0], order[:, 1])
    distance = np.sqrt(np.maximum(2 - 2 * np.sort(two, axis=1), 0))  # second best, best
    passing = np.flatnonzero(distance[:, 1] < RATIO * distance[:, 0])
    passing = passing[np.argsort(distance[passing, 1], kind="stable")]
    _, first = np.unique(best[passing], return_index=True)
    chosen = passing[np.sort(first)]
    return np.stack([chosen, best[chosen]], axis=1)


def _is_plausible(matrix: NDArray[np.float64]) -> bool:
    """Refuse transforms that no copy has: strong shear, scale beyond 4, mirror images."""
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(
        np.linalg.det(matrix[:, :2]) > 0
        and stretch[0] < 4
        and stretch[1] > 0.25
        and stretch[0] / stretch[1] < 2
    )


def _by_turns(a: Prepared, b: Prepared) -> Evidence:
    """Try the eight turns and flips of the whole picture; refine the best one by ECC."""
    height, width = a.grey.shape
    flat = _normalised(cv2.resize(a.grey, (32, 32), interpolation=cv2.INTER_AREA))
    turned = [np.rot90(p, k) for p in (b.grey, b.grey[:, ::-1]) for k in range(4)]
    scores = [
        float((flat * _normalised(cv2.resize(_whole(t), (32, 32), interpolation=3))).mean())
        for t in turned
    ]
    best = int(np.argmax(scores))
    if scores[best] < 0.6:  # of a correlation; below, ECC does not find the way
        return NOTHING
    picture = np.asarray(cv2.resize(_whole(turned[best]), (width, height)), np.uint8)
    matrix = _refine(a.grey, picture)
    if not _is_nearly_still(matrix, height, width):
        return NOTHING
    return Evidence(0, *_agreement(a.grey, picture, matrix))


def _refine(target: Grey, picture: Grey) -> NDArray[np.float64]:
    """Return the affine map of `picture` onto `target` by ECC, the identity where it fails."""
    inverse = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-3)
    try:
        mask = np.ones_like(target)
        _, found = cv2.findTransformECC(
            target, picture, inverse, cv2.MOTION_AFFINE, criteria, mask, 5
        )
    except cv2.error:
        return np.eye(2, 3)
    return np.asarray(cv2.invertAffineTransform(found), np.float64)


def _is_nearly_still(matrix: NDArray[np.float64], height: int, width: int) -> bool:
    """Ask for a small change: a free one lays any edge over any other."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    moved = np.abs(corners @ matrix[:, :2].T + matrix[:, 2] - corners).max() / max(height, width)
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(moved <= 0.25 and stretch[0] <= 1.25 and stretch[1] >= 0.7)


def _agreement(
    target: Grey, picture: Grey, matrix: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return (overlap, structure, likeness) after warping `picture` onto `target`."""
    height, width = target.shape
    inside = np.asarray(
        cv2.warpAffine(np.ones_like(picture), matrix, (width, height), flags=cv2.INTER_NEAREST)
    )
    own = picture.size * abs(float(np.linalg.det(matrix[:, :2])))
    overlap = min(1.0, float(inside.sum()) / max(1.0, min(own, float(target.size))))
    core = cv2.erode(inside, np.ones((7, 7), np.uint8)).astype(bool)
    if core.sum() < MIN_CORE_PX:
        return overlap, 0.0, 0.0
    warped = np.asarray(cv2.warpAffine(picture, matrix, (width, height)))
    covered = inside.astype(bool)
    a, b = _band(target, covered), _band(warped, covered)
    power_a, power_b = _window(a * a), _window(b * b)
    local = _window(a * b) / np.sqrt(power_a * power_b + 1e-6)
    structure = _weighted_median(local[core], np.sqrt(power_a * power_b)[core])
    return overlap, structure, _correlation(_smooth(target)[core], _smooth(warped)[core])


def _smooth(picture: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float64), (0, 0), FINE_SIGMA))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float((_normalised(a) * _normalised(b)).mean())


def _band(picture: NDArray[Any], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Keep what lies between noise and shading, where edits change least."""
    values = np.where(covered, picture, picture[covered].mean()).astype(np.float32)
    fine = cv2.GaussianBlur(values, (0, 0), FINE_SIGMA)
    return np.asarray(fine - cv2.GaussianBlur(values, (0, 0), COARSE_SIGMA), np.float32)


def _window(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), WINDOW_SIGMA), np.float32)


def _weighted_median(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order], dtype=np.float64)
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _normalised(picture: NDArray[Any]) -> NDArray[np.float64]:
    values = picture.astype(np.float64)
    return np.asarray((values - values.mean()) / (values.std() + 1e-6))


def _whole(picture: Grey) -> Grey:
    return np.ascontiguousarray(picture)
