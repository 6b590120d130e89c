"""Verification: is one picture really an edit of the other? Geometry first, then structure.

SIFT keypoints (Lowe 2004) of one picture are matched to those of the other and of its mirror image,
and a similarity transform is fitted by RANSAC; SIFT covers rotations, the mirror image covers
flips. Where texture gives too few keypoints, the eight right-angle turns and flips are tried and
refined by ECC (Evangelidis and Psarakis 2008). One picture is then warped onto the other and
compared by SSIM (Wang et al. 2004, scikit-image) after fitting gain and offset, since edits
change colour. The median over the overlap is taken, so that a caption or a sticker does not decide.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from stages.lib.pixels import Pixels

SIDE_PX = 160  # long side for comparing; keypoints are sought at twice of it
RATIO = 0.85  # Lowe's ratio test; loose, since RANSAC sorts out the rest
MIN_MATCHES = 6
FLAT_STD = 4.0  # grey levels; below this a picture has no structure to verify
BLUR_SIGMA = 1.2  # before comparing: noise and compression are edits, not other pictures

Grey = NDArray[np.uint8]  # (height, width)


class Evidence(NamedTuple):
    """What verification found for the best alignment of a pair."""

    inliers: int  # matched keypoints that obey the transform
    overlap: float  # share of the smaller picture that the other covers, in [0, 1]
    ssim: float  # median local SSIM in the overlap, in [-1, 1]


NOTHING = Evidence(0, 0.0, 0.0)


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
    mirrored_points, mirrored_descriptors = _keypoints(np.ascontiguousarray(grey[:, ::-1]))
    flat = float(cv2.GaussianBlur(grey, (0, 0), 2).std()) < FLAT_STD
    return Prepared(grey, flat, points, descriptors, mirrored_points, mirrored_descriptors)


@lru_cache(maxsize=1)
def _sift() -> Any:
    return cv2.SIFT_create(nfeatures=300, contrastThreshold=0.02)


def _keypoints(grey: Grey) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    larger = cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    found, descriptors = _sift().detectAndCompute(larger, None)
    if descriptors is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    # RootSIFT (Arandjelović and Zisserman 2012): Hellinger distance matches better.
    descriptors = np.sqrt(descriptors / (descriptors.sum(axis=1, keepdims=True) + 1e-7))
    return np.array([point.pt for point in found], np.float32) / 2, descriptors


def compare(a: Prepared, b: Prepared) -> Evidence:
    """Return the evidence of the best alignment of `b` onto `a`."""
    if a.flat or b.flat:
        return NOTHING
    best = max(
        (_by_keypoints(a, b, mirrored) for mirrored in (False, True)), key=lambda e: (e.ssim, e)
    )
    if best.ssim < 0.5 or best.overlap < 0.5:
        best = max(best, _by_turns(a, b), key=lambda e: (e.ssim, e))
    return best


def _by_keypoints(a: Prepared, b: Prepared, mirrored: bool) -> Evidence:
    points = b.mirrored_points if mirrored else b.points
    descriptors = b.mirrored_descriptors if mirrored else b.descriptors
    matches = _match(a.descriptors, descriptors)
    if len(matches) < MIN_MATCHES:
        return NOTHING
    source, target = points[matches[:, 1]], a.points[matches[:, 0]]
    matrix, inside = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=3.0, maxIters=1000
    )
    if matrix is None or not _is_plausible(matrix):
        return NOTHING
    picture = np.ascontiguousarray(b.grey[:, ::-1]) if mirrored else b.grey
    overlap, ssim = _structure(a.grey, picture, matrix)
    return Evidence(int(inside.sum()), overlap, ssim)


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
    overlap, ssim = _structure(a.grey, picture, matrix)
    return Evidence(0, overlap, ssim)


def _refine(target: Grey, picture: Grey) -> NDArray[np.float64]:
    """Return the affine map of `picture` onto `target` by ECC, the identity where it fails."""
    inverse = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        mask = np.ones_like(target)
        _, found = cv2.findTransformECC(
            target, picture, inverse, cv2.MOTION_AFFINE, criteria, mask, 5
        )
    except cv2.error:
        return np.eye(2, 3)
    return np.asarray(cv2.invertAffineTransform(found), np.float64)


def _structure(target: Grey, picture: Grey, matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Return (overlap, ssim) after warping `picture` onto `target`."""
    height, width = target.shape
    warped = cv2.warpAffine(picture, matrix, (width, height)).astype(np.float32)
    ones = np.ones(picture.shape, np.uint8)
    inside = np.asarray(cv2.warpAffine(ones, matrix, (width, height), flags=cv2.INTER_NEAREST))
    covered = inside.astype(bool)
    area = float(covered.sum())
    own = picture.size * abs(float(np.linalg.det(matrix[:, :2])))
    overlap = area / max(1.0, min(own, float(target.size)))
    if area < 256:
        return min(overlap, 1.0), 0.0
    reference = _smooth(target.astype(np.float32))
    fitted = _fit_gain(_smooth(warped), reference, covered)
    core = cv2.erode(inside, np.ones((9, 9), np.uint8)).astype(bool)
    if fitted is None or core.sum() < 128:
        return min(overlap, 1.0), 0.0
    _, local = structural_similarity(reference, fitted, data_range=128.0, full=True)
    return min(overlap, 1.0), float(np.median(local[core]))


def _smooth(picture: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), BLUR_SIGMA), np.float32)


def _fit_gain(
    source: NDArray[np.float32], target: NDArray[np.float32], where: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """Return gain · source + offset nearest to the target where they overlap; None where flat."""
    x, y = source[where].astype(np.float64), target[where].astype(np.float64)
    spread = x.std()
    if spread < 1.0 or y.std() < FLAT_STD:
        return None
    gain = ((x - x.mean()) * (y - y.mean())).mean() / spread**2
    if gain <= 0:
        return None  # an accidental likeness: no edit in use turns light into dark
    return np.asarray(gain * (source - x.mean()) + y.mean(), np.float32)


def _normalised(picture: NDArray[Any]) -> NDArray[np.float64]:
    values = picture.astype(np.float64)
    return np.asarray((values - values.mean()) / (values.std() + 1e-6))


def _whole(picture: Grey) -> Grey:
    return np.ascontiguousarray(picture)
