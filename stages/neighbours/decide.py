"""Decide which verified pairs are copies: the rule and its limits, nothing else."""

from typing import NamedTuple

from stages.neighbours.verify import Evidence

# Chosen on patches of photographs that are neither in the sample nor in the benchmark, by
# benchmarks/verification.py, which prints precision and recall over their values.
MIN_OVERLAP = 0.75  # of the smaller one: two photographs of a scene overlap by less
MIN_STRUCTURE = 0.7
MIN_INLIERS = 10  # keypoints on one transform, which prove a copy by themselves
MIN_INLIERS_NEAR = 8  # … where embeddings are as near as `dedupe.threshold`
MIN_LIKENESS_NEAR = 0.97  # … and without keypoints, as in blurred or plain pictures
SCENE_INLIERS = 15  # keypoints that agree on one motion: the same scene, seen otherwise


class Verdict(NamedTuple):
    """Whether a pair is a copy, and by which rule."""

    duplicate: bool
    decided_by: str  # keypoints, likeness, scene (relatives), or none


def decide(normalised: float, evidence: Evidence, threshold: float) -> Verdict:
    """Return the verdict on one verified pair of this normalised similarity."""
    if evidence.overlap >= MIN_OVERLAP and evidence.structure >= MIN_STRUCTURE:
        near = normalised >= threshold
        if evidence.inliers >= (MIN_INLIERS_NEAR if near else MIN_INLIERS):
            return Verdict(True, "keypoints")
        if near and evidence.likeness >= MIN_LIKENESS_NEAR:
            return Verdict(True, "likeness")
    if evidence.inliers >= SCENE_INLIERS:
        return Verdict(False, "scene")
    return Verdict(False, "none")
