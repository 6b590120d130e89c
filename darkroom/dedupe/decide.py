"""Decide which verified pairs are copies: the rule and its limits, nothing else."""

from typing import NamedTuple

from darkroom.dedupe.verify import Evidence, is_same_whole

# Chosen on photographs that are neither in the sample nor in the benchmark's held-out set;
# benchmarks/verification.py prints recall and mistakes over values of `dedupe.threshold`.
MIN_OVERLAP = 0.75  # of the smaller one: two photographs of a scene overlap by less
MIN_AGREEMENT = 0.75
MIN_INLIERS = 10  # keypoints on one map
MIN_AGREEMENT_NEAR = 0.6  # where embeddings are as near as `dedupe.threshold`: captions, stickers
MIN_INLIERS_NEAR = 8
# Frames of a burst and variants of a product agree so far as well. Read off 84 pairs of photographs
# that the network was fitted on, judged by eye: 41 of 57 that were no copies go, 4 of 27 that were.
# Of rules that did so, one was taken that keeps most of the sample's planted copies.
SURE_AGREEMENT = 0.8  # below, a pair must agree as copies do in one of three other ways:
MANY_INLIERS = 80
MAX_GAP = 0.03  # of mean SSIM above the share that agrees: either it agrees well or not at all
MAX_MSE = 0.02
SCENE_INLIERS = 15  # keypoints that agree on one motion: the same scene, seen otherwise


class Verdict(NamedTuple):
    """Whether a pair is a copy, and by which rule."""

    duplicate: bool
    decided_by: str  # whole, keypoints, likeness, scene (related, no copy), or none


def decide(normalised: float, evidence: Evidence, threshold: float) -> Verdict:
    """Return the verdict on one verified pair of this normalised similarity."""
    near = normalised >= threshold
    if is_same_whole(evidence):
        return Verdict(True, "whole")
    agrees = evidence.agreement >= (MIN_AGREEMENT_NEAR if near else MIN_AGREEMENT)
    if agrees and evidence.overlap >= MIN_OVERLAP and agrees_as_copies_do(evidence):
        if evidence.inliers >= (MIN_INLIERS_NEAR if near else MIN_INLIERS):
            return Verdict(True, "keypoints")
        if near and (evidence.agreement >= MIN_AGREEMENT or evidence.mse <= MAX_MSE):
            return Verdict(True, "likeness")
    if evidence.inliers >= SCENE_INLIERS:
        return Verdict(False, "scene")
    return Verdict(False, "none")


def agrees_as_copies_do(evidence: Evidence) -> bool:
    """Return whether the pictures agree as copies do, and not as two shots of one thing."""
    return (
        evidence.agreement >= SURE_AGREEMENT
        or evidence.inliers >= MANY_INLIERS
        or evidence.ssim - evidence.agreement <= MAX_GAP
        or evidence.mse <= MAX_MSE
    )
