"""Verification: is one picture really an edit of the other? Cheap first, then only what needs it.

1. The whole pictures as thumbnails, in the eight turns and flips: a picture that was resized,
   recompressed, recoloured or flipped already lies on the other one.
2. SIFT keypoints (Lowe 2004) of one picture are matched to those of the other and of its mirror
   image, and an affine map is fitted by RANSAC; SIFT covers rotations, the mirror image covers
   flips. Affine and not a homography, since what edits do (crop, scale, aspect, turn) is affine:
   the two further degrees of freedom take in what is not a copy, a scene from another place.
3. Where there are too few keypoints, the best turn is refined by ECC (Evangelidis and Psarakis
   2008), for pairs whose embeddings are near.

Aligned greys are compared by scikit-image: SSIM (Wang et al. 2004) of band-passed grey with local
contrast evened out, which does not see brightness, contrast, shading or fine noise, and the mean
squared error of the smoothed grey. What decides is the share of the detailed part of the overlap
that agrees: a person before another wall, or a window with other content, fails by what differs,
however well the rest fits, while a caption or a sticker is a small share. What differs by details
below a fiftieth of the long side (the numbers in two spreadsheets of one form) is not seen.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, structural_similarity

from darkroom.images.decode import Pixels

VERSION = "4"  # raise it when the same two pictures give other evidence

SIDE_PX = 160  # long side for comparing; SIFT itself looks at twice of it
THUMB_PX = 32
RATIO = 0.85  # Lowe's ratio test; loose, since RANSAC sorts out the rest
MIN_MATCHES = 6
SURE_INLIERS = 8  # with fewer, or less agreement, the whole pictures are tried as well
SURE_AGREEMENT = 0.7
FLAT_STD = 1.5  # grey levels; below this a picture has no structure to verify
ALIKE, HARDLY_ALIKE = 0.85, 0.6  # correlation of thumbnails: lies as it is; ECC may find the way
FINE_SIGMA, COARSE_SIGMA = 1.5, 8.0  # px: the band that is compared
WINDOW_SIGMA = 5.0  # px, over which contrast is evened out
SSIM_STEP, SSIM_WINDOW = 2, 9  # the band holds no finer detail than every second pixel; pixels
PLAIN, COARSER = 6.0, 2.5  # grey levels; blurred pictures hold more at sizes 2.5 times as large
DETAIL = 0.5  # of the mean local contrast: from here on a place has detail
AGREES = 0.8  # local SSIM
WHOLE_AGREEMENT, WHOLE_MSE = 0.85, 0.1  # whole pictures that agree so far need no keypoints
MIN_CORE_PX = 400  # fewer compared pixels prove nothing

Grey = NDArray[np.uint8]  # (height, width)


class Evidence(NamedTuple):
    """What the best alignment of a pair shows."""

    inliers: int  # matched keypoints that fit the map; 0 where the whole pictures were laid on
    overlap: float  # share of the smaller picture that the other covers, in [0, 1]
    agreement: float  # share of the overlap's detail that agrees, in [0, 1]
    ssim: float  # mean of scikit-image's SSIM over the overlap's detail, in [-1, 1]
    mse: float  # scikit-image's mean squared error of smoothed grey of unit variance, in [0, 4]


NOTHING = Evidence(0, 0.0, 0.0, float("nan"), float("nan"))


@dataclass(frozen=True)
class Keypoints:
    """SIFT keypoints of one picture."""

    points: NDArray[np.float32]  # (n, 2) x, y in pixels of the grey picture
    descriptors: NDArray[np.float32]  # (n, 128) unit length


@dataclass(frozen=True)
class Prepared:
    """A picture ready for verification; its keypoints are sought when first asked for."""

    grey: Grey  # long side SIDE_PX
    flat: bool

    @cached_property
    def keypoints(self) -> Keypoints:
        """Keypoints of the picture."""
        points, descriptors = _sift().detectAndCompute(self.grey, None)
        if descriptors is None:
            return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
        # RootSIFT (Arandjelović and Zisserman 2012): Hellinger distance matches better.
        root = np.sqrt(descriptors / (descriptors.sum(axis=1, keepdims=True) + 1e-7))
        return Keypoints(np.array([p.pt for p in points], np.float32), root.astype(np.float32))

    @cached_property
    def mirrored(self) -> Keypoints:
        """Keypoints of its mirror image, without seeking them there.

        A descriptor is 4 rows x 4 columns x 8 directions in the keypoint's own frame, of which a
        mirror reverses the rows and the sense of direction.
        """
        points = self.keypoints.points.copy()
        points[:, 0] = self.grey.shape[1] - 1 - points[:, 0]
        frames = self.keypoints.descriptors.reshape(-1, 4, 4, 8)[:, ::-1]
        turned = frames[..., [0, 7, 6, 5, 4, 3, 2, 1]]
        return Keypoints(points, np.ascontiguousarray(turned.reshape(-1, 128)))

    @cached_property
    def thumbs(self) -> NDArray[np.float32]:
        """The eight turns and flips of its thumbnail, (8, 1024), zero mean and unit length."""
        size = (THUMB_PX, THUMB_PX)
        thumb = cv2.resize(self.grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        thumb -= thumb.mean()
        thumb = np.asarray(thumb / (np.linalg.norm(thumb) + 1e-6), np.float32)
        turned = [np.rot90(t, k).ravel() for t in (thumb, thumb[:, ::-1]) for k in range(4)]
        return np.stack(turned)


def prepare(pixels: Pixels) -> Prepared:
    """Reduce a picture (height, width, 3) to grey."""
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), np.uint8)
    scale = SIDE_PX / max(grey.shape)
    size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = np.asarray(cv2.resize(grey, size, interpolation=method), np.uint8)
    flat = float(np.std(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2))) < FLAT_STD
    return Prepared(grey, flat)


def compare(a: Prepared, b: Prepared, whole: bool) -> Evidence:
    """Return the evidence of the best alignment of the two pictures, in either order the same.

    `whole` also refines the whole pictures where neither they nor keypoints decide. Two plain
    pictures (an edge, a gradient) may well align by chance: ask for it only when the embeddings are
    near.
    """
    if a.flat or b.flat:
        return NOTHING
    if a.grey.tobytes() > b.grey.tobytes():  # RANSAC takes one picture as the frame of the other
        a, b = b, a
    alike = b.thumbs @ a.thumbs[0]  # (8,)
    turn = int(np.argmax(alike))
    if alike[turn] >= ALIKE:
        laid = _by_turn(a, b, turn)
        if is_same_whole(laid):
            return laid
    mirror_image = np.ascontiguousarray(b.grey[:, ::-1])
    alignments = [_by_keypoints(a, b.grey, b.keypoints), _by_keypoints(a, mirror_image, b.mirrored)]
    best = max(alignments, key=lambda e: (e.inliers >= SURE_INLIERS, e.agreement, e.inliers))
    unsure = best.inliers < SURE_INLIERS or best.agreement < SURE_AGREEMENT
    if whole and unsure and alike[turn] >= HARDLY_ALIKE:
        refined = _by_turn(a, b, turn, refine=True)
        if refined.agreement >= max(SURE_AGREEMENT, best.agreement):
            return refined
    return best


def is_same_whole(evidence: Evidence) -> bool:
    """Return whether the whole pictures agree so well as they lie that keypoints add nothing."""
    return (
        evidence.inliers == 0
        and evidence.agreement >= WHOLE_AGREEMENT
        and evidence.mse <= WHOLE_MSE
    )


@lru_cache(maxsize=1)
def _sift() -> Any:
    return cv2.SIFT.create(nfeatures=300, contrastThreshold=0.01)


def _by_keypoints(a: Prepared, picture: Grey, keypoints: Keypoints) -> Evidence:
    """Lay `picture`, which has these keypoints, onto `a`."""
    matches = _match(a.keypoints.descriptors, keypoints.descriptors)
    if len(matches) < MIN_MATCHES:
        return NOTHING
    source, target = keypoints.points[matches[:, 1]], a.keypoints.points[matches[:, 0]]
    affine, inside = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=3.0, maxIters=1000
    )
    if affine is None:
        return NOTHING
    matrix = np.asarray(affine, np.float64)
    if not _is_plausible(matrix) or inside.sum() < MIN_MATCHES:
        return NOTHING
    return Evidence(int(inside.sum()), *_agreement(a.grey, picture, matrix))


def _match(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return index pairs (m, 2) that pass the ratio test, each keypoint of `b` used once."""
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = a @ b.T  # (n, m), unit vectors
    best = np.argmax(similarity, axis=1)
    nearest = similarity[np.arange(len(a)), best]
    similarity[np.arange(len(a)), best] = -1
    second = np.sqrt(np.maximum(2 - 2 * similarity.max(axis=1), 0))
    distance = np.sqrt(np.maximum(2 - 2 * nearest, 0))
    passing = np.flatnonzero(distance < RATIO * second)
    passing = passing[np.argsort(distance[passing], kind="stable")]
    _, first = np.unique(best[passing], return_index=True)
    chosen = passing[np.sort(first)]
    return np.stack([chosen, best[chosen]], axis=1)


def _is_plausible(matrix: NDArray[np.float64]) -> bool:
    """Refuse maps that no copy has: strong shear, scale beyond 4, mirror images."""
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(
        np.linalg.det(matrix[:, :2]) > 0
        and stretch[0] < 4
        and stretch[1] > 0.25
        and stretch[0] / stretch[1] < 2
    )


def _by_turn(a: Prepared, b: Prepared, turn: int, refine: bool = False) -> Evidence:
    """Lay the whole of `b` onto `a`, turned as the thumbnail is, refined by ECC if asked."""
    height, width = a.grey.shape
    turned = np.rot90(b.grey[:, ::-1] if turn >= 4 else b.grey, turn % 4)
    picture = np.asarray(cv2.resize(np.ascontiguousarray(turned), (width, height)), np.uint8)
    matrix = _refine(a.grey, picture) if refine else np.eye(2, 3)
    if not _is_small_change(matrix, height, width):
        return NOTHING
    return Evidence(0, *_agreement(a.grey, picture, matrix))


def _refine(target: Grey, picture: Grey) -> NDArray[np.float64]:
    """Return the affine map of `picture` onto `target` by ECC, the identity where it fails."""
    inverse = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-3)
    try:
        mask = np.ones_like(target)
        _, affine = cv2.findTransformECC(
            target, picture, inverse, cv2.MOTION_AFFINE, criteria, mask, 5
        )
    except cv2.error:
        return np.eye(2, 3)
    return np.asarray(cv2.invertAffineTransform(affine), np.float64)


def _is_small_change(matrix: NDArray[np.float64], height: int, width: int) -> bool:
    """Ask for a small change: a free one lays any edge over any other."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    moved = np.abs(corners @ matrix[:, :2].T + matrix[:, 2] - corners).max() / max(height, width)
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(moved <= 0.25 and stretch[0] <= 1.25 and stretch[1] >= 0.7)


def _agreement(
    target: Grey, picture: Grey, matrix: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Return (overlap, agreement, ssim, mse) after warping `picture` onto `target`.

    Pictures without fine detail are compared by their coarse one.
    """
    height, width = target.shape
    inside = np.asarray(
        cv2.warpAffine(np.ones_like(picture), matrix, (width, height), flags=cv2.INTER_NEAREST)
    )
    own = picture.size * abs(float(np.linalg.det(matrix[:, :2])))
    overlap = min(1.0, float(inside.sum()) / max(1.0, min(own, float(target.size))))
    core = cv2.erode(inside, np.ones((7, 7), np.uint8)).astype(bool)
    if core.sum() < MIN_CORE_PX:
        return overlap, *NOTHING[2:]
    warped = np.asarray(cv2.warpAffine(picture, matrix, (width, height)))
    covered = inside.astype(bool)
    agreement, ssim, contrast = _detail(target, warped, covered, core, 1.0)
    if contrast < PLAIN and agreement < SURE_AGREEMENT:
        agreement, ssim, _ = _detail(target, warped, covered, core, COARSER)
    error = float(mean_squared_error(_standard(target, core), _standard(warped, core)))
    return overlap, agreement, ssim, error


def _detail(
    a: NDArray[Any], b: NDArray[Any], covered: NDArray[np.bool_], core: NDArray[np.bool_],
    coarser: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Return (share of detail that agrees, mean SSIM of detail, contrast in grey levels)."""
    band_a, local_a, contrast_a = _evened_band(a, covered, core, coarser)
    band_b, local_b, contrast_b = _evened_band(b, covered, core, coarser)
    every = slice(None, None, round(SSIM_STEP * coarser))
    detail = (core & (np.maximum(local_a, local_b) >= DETAIL))[every, every]
    if not detail.any() or min(detail.shape) < SSIM_WINDOW:
        return 0.0, float("nan"), 0.0
    _, local = structural_similarity(
        np.ascontiguousarray(band_a[every, every]), np.ascontiguousarray(band_b[every, every]),
        win_size=SSIM_WINDOW, data_range=1.0, full=True,
    )  # fmt: skip
    values = local[detail]
    return float((values >= AGREES).mean()), float(values.mean()), min(contrast_a, contrast_b)


def _standard(picture: NDArray[Any], core: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the smoothed grey values in the core, (n,), of zero mean and unit variance."""
    values = cv2.GaussianBlur(picture.astype(np.float64), (0, 0), FINE_SIGMA)[core]
    return np.asarray((values - values.mean()) / (values.std() + 1e-6))


def _evened_band(
    picture: NDArray[Any], covered: NDArray[np.bool_], core: NDArray[np.bool_], coarser: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Return (band, local, contrast) of what lies between noise and shading.

    `local` is the contrast around each pixel in units of `contrast`, which is its mean over the
    core in grey levels; the band is divided by it.
    """
    values = np.where(covered, picture, picture[covered].mean()).astype(np.float32)
    fine = cv2.GaussianBlur(values, (0, 0), FINE_SIGMA * coarser)
    band = fine - cv2.GaussianBlur(values, (0, 0), COARSE_SIGMA * coarser)
    local = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), WINDOW_SIGMA * coarser))
    contrast = float(local[core].mean()) + 1e-6
    evened = np.asarray(band / (local + 0.2 * contrast), np.float32)
    return evened, np.asarray(local / contrast), contrast
