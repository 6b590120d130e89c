"""Decide which verified pairs are copies: the rule and its limits, nothing else."""

from typing import NamedTuple

from darkroom.dedupe.verify import Evidence, is_same_whole

# Chosen on photographs that the network was fitted on, which are neither in the sample nor in the
# benchmark's held-out set; benchmarks/verification.py prints recall and mistakes over values of
# `dedupe.threshold`.
MIN_OVERLAP = 0.75  # of the smaller one: two photographs of a scene overlap by less
MIN_OVERLAP_SURE, SURELY_AGREES = 0.7, 0.95  # a turn within the frame loses more
MIN_AGREEMENT = 0.75
MIN_INLIERS = 10  # matching places on one map
MIN_AGREEMENT_NEAR = 0.6  # where embeddings are as near as `dedupe.threshold`
MIN_INLIERS_NEAR = 8
MIN_UNCOVERED, MIN_INLIERS_COVERED = 0.85, 40  # and there: captions, stickers
# Frames of a burst and variants of a product agree so far as well. Read off 84 pairs of photographs
# that the network was fitted on, judged by eye.
SURE_AGREEMENT = 0.8  # below, a pair must agree as copies do in one of two other ways:
MAX_GAP = 0.03  # of mean SSIM above the share that agrees: either it agrees well or not at all
MAX_MSE = 0.02
SCENE_INLIERS, SCENE_AGREEMENT = 40, 0.3  # the same scene, seen otherwise


class Verdict(NamedTuple):
    """Whether a pair is a copy, and by which rule."""

    duplicate: bool
    # whole, matches, covered, likeness, scene (related, no copy), or none; difference, where the
    # last word (`darkroom.dedupe.confirm`) is that it is no copy
    decided_by: str


def decide(normalised: float, evidence: Evidence, threshold: float) -> Verdict:
    """Return the verdict on one verified pair of this normalised similarity."""
    near = normalised >= threshold
    if is_same_whole(evidence):
        return Verdict(True, "whole")
    agrees = evidence.agreement >= (MIN_AGREEMENT_NEAR if near else MIN_AGREEMENT)
    sure = evidence.agreement >= SURELY_AGREES
    overlaps = evidence.overlap >= (MIN_OVERLAP_SURE if sure else MIN_OVERLAP)
    if agrees and overlaps and agrees_as_copies_do(evidence):
        if evidence.inliers >= (MIN_INLIERS_NEAR if near else MIN_INLIERS):
            return Verdict(True, "matches")
        if near and (evidence.agreement >= MIN_AGREEMENT or evidence.mse <= MAX_MSE):
            return Verdict(True, "likeness")
    covered = evidence.uncovered >= MIN_UNCOVERED and evidence.inliers >= MIN_INLIERS_COVERED
    if near and overlaps and covered:
        return Verdict(True, "covered")
    if evidence.inliers >= SCENE_INLIERS and evidence.agreement >= SCENE_AGREEMENT:
        return Verdict(False, "scene")
    return Verdict(False, "none")


def agrees_as_copies_do(evidence: Evidence) -> bool:
    """Return whether the pictures agree as copies do, and not as two shots of one thing."""
    return (
        evidence.agreement >= SURE_AGREEMENT
        or evidence.ssim - evidence.agreement <= MAX_GAP
        or evidence.mse <= MAX_MSE
    )
