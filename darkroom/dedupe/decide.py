"""Decide which verified pairs are copies: the rule and its limits, nothing else."""

from typing import NamedTuple

from darkroom.dedupe.verify import Evidence, is_same_whole

# benchmarks/copies.py and benchmarks/verification.py print recall and mistakes. These limits let
# bursts and look-alikes pass: what would be rejected for one of the first three reasons and is not
# plainly the same gets a last, finer look (`darkroom.dedupe.confirm`).
MIN_OVERLAP = 0.75  # of the smaller one: two photographs of a scene overlap by less
MIN_OVERLAP_SURE, SURELY_AGREES = 0.7, 0.95  # a turn within the frame loses more
MIN_AGREEMENT, MIN_INLIERS = 0.65, 10  # matching places on one map
# Textures repeat: the next patch of a wall agrees so far on a map that fits its bricks. Below this
# agreement a pair must have many matches, or agree in its greys.
SURE_AGREEMENT, MANY_INLIERS = 0.85, 80
# Where embeddings are as near as `dedupe.threshold`, less will do: under a caption or a sticker,
# and where the whole pictures were laid on each other.
MIN_UNCOVERED, MIN_INLIERS_COVERED = 0.78, 80
MIN_AGREEMENT_COARSE, MAX_MSE_COARSE = 0.5, 0.03  # strong compression leaves the smoothed greys
MIN_LIKENESS, MIN_LIKENESS_NEXT, MAX_MSE = 0.75, 0.6, 0.02
# Of a picture within another. It is sought upright: what has turned to fit is something else.
MIN_AGREEMENT_PLACED, MAX_MSE_PLACED, MAX_TILT = 0.85, 0.05, 0.04
SCENE_INLIERS = 40  # matching places on one map: the same scene or thing, seen otherwise


class Verdict(NamedTuple):
    """Whether a pair is a copy, and by which rule."""

    duplicate: bool
    # whole, matches, covered, likeness, placed (one lies within the other), scene (related, no
    # copy), or none; difference, where the last word (`darkroom.dedupe.confirm`) is that it is none
    decided_by: str


def decide(normalised: float, evidence: Evidence, threshold: float) -> Verdict:
    """Return the verdict on one verified pair of this normalised similarity."""
    if is_same_whole(evidence):
        return Verdict(True, "whole")
    agreement, near = evidence.agreement, normalised >= threshold
    sure = agreement >= SURELY_AGREES
    if evidence.overlap >= (MIN_OVERLAP_SURE if sure else MIN_OVERLAP):
        fits = evidence.inliers >= MIN_INLIERS and agreement >= MIN_AGREEMENT
        if fits and agrees_as_copies_do(evidence):
            return Verdict(True, "matches")
        coarse = agreement >= MIN_AGREEMENT_COARSE and evidence.mse <= MAX_MSE_COARSE
        rest = evidence.uncovered >= MIN_UNCOVERED or coarse
        if near and evidence.inliers >= MIN_INLIERS_COVERED and rest:
            return Verdict(True, "covered")
        smooth = agreement >= MIN_LIKENESS_NEXT and evidence.mse <= MAX_MSE
        if near and evidence.inliers == 0 and (agreement >= MIN_LIKENESS or smooth):
            return Verdict(True, "likeness")
    if evidence.inliers >= SCENE_INLIERS:
        return Verdict(False, "scene")
    return Verdict(False, "none")


def agrees_as_copies_do(evidence: Evidence) -> bool:
    """Return whether the pictures agree as copies do, and not as two places of one texture."""
    return (
        evidence.agreement >= SURE_AGREEMENT
        or evidence.inliers >= MANY_INLIERS
        or evidence.mse <= MAX_MSE
    )


def decide_placed(evidence: Evidence) -> Verdict:
    """Return the verdict on a pair of which one picture was sought within the other."""
    agrees = evidence.agreement >= MIN_AGREEMENT_PLACED and evidence.mse <= MAX_MSE_PLACED
    turned = abs(evidence.xy) + abs(evidence.yx) > MAX_TILT * (abs(evidence.xx) + abs(evidence.yy))
    lies = agrees and not turned and evidence.overlap >= MIN_OVERLAP
    return Verdict(lies, "placed" if lies else "none")
