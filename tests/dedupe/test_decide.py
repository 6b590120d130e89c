"""The rule: what proves a copy, and what only a relative."""

import pytest

from darkroom.dedupe.decide import decide, decide_placed
from darkroom.dedupe.verify import NOTHING

THRESHOLD = 0.5


def evidence(inliers, overlap, agreement, ssim, mse, uncovered=0.0):
    return NOTHING._replace(
        inliers=inliers, overlap=overlap, agreement=agreement, uncovered=uncovered, ssim=ssim,
        mse=mse,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("normalised", "shown", "verdict"),
    [
        pytest.param(0.3, evidence(40, 1.0, 0.95, 0.9, 0.01), (True, "matches"), id="copy"),
        pytest.param(0.3, evidence(0, 1.0, 0.99, 0.99, 0.0), (True, "whole"), id="lies on it"),
        pytest.param(0.6, evidence(90, 1.0, 0.5, 0.6, 1.5, 0.9), (True, "covered"), id="captioned"),
        pytest.param(0.4, evidence(90, 1.0, 0.5, 0.6, 1.5, 0.9), (False, "scene"), id="far off"),
        pytest.param(0.6, evidence(90, 1.0, 0.6, 0.6, 0.1, 0.75), (False, "scene"), id="slices"),
        pytest.param(0.6, evidence(90, 1.0, 0.6, 0.6, 0.02, 0.75), (True, "covered"), id="jpeg 10"),
        pytest.param(0.4, evidence(40, 1.0, 0.62, 0.6, 0.3), (False, "scene"), id="same person"),
        pytest.param(0.3, evidence(90, 1.0, 0.67, 0.75, 0.04), (True, "matches"), id="burst"),
        pytest.param(0.6, evidence(40, 1.0, 0.72, 0.78, 0.12), (False, "scene"), id="next bricks"),
        pytest.param(0.6, evidence(40, 0.4, 0.99, 0.99, 0.0), (False, "scene"), id="next part"),
        pytest.param(0.3, evidence(40, 0.72, 0.99, 0.99, 0.0), (True, "matches"), id="turned"),
        pytest.param(0.3, evidence(40, 0.72, 0.85, 0.85, 0.0), (False, "scene"), id="moved on"),
        pytest.param(0.6, evidence(0, 1.0, 0.7, 0.7, 0.02), (True, "likeness"), id="blurred"),
        pytest.param(0.4, evidence(0, 1.0, 0.7, 0.7, 0.02), (False, "none"), id="not near enough"),
        pytest.param(0.9, NOTHING, (False, "none"), id="nothing seen"),
    ],
)
def test_evidence_decides(normalised, shown, verdict):
    assert decide(normalised, shown, THRESHOLD) == verdict


@pytest.mark.parametrize(
    ("agreement", "mse", "overlap", "tilt", "lies"),
    [
        pytest.param(0.95, 0.004, 1.0, 0.01, True, id="laid on"),
        pytest.param(0.78, 0.004, 1.0, 0.01, False, id="another smile"),
        pytest.param(0.95, 0.08, 1.0, 0.01, False, id="other greys"),
        pytest.param(0.95, 0.004, 0.6, 0.01, False, id="hangs out"),
        pytest.param(0.95, 0.004, 1.0, 0.08, False, id="turned to fit"),
    ],
)
def test_what_lies_within_another_agrees_upright(agreement, mse, overlap, tilt, lies):
    shown = evidence(0, overlap, agreement, agreement, mse)._replace(
        xx=0.5, xy=-tilt / 2, x0=3.0, yx=tilt / 2, yy=0.5, y0=5.0
    )
    assert decide_placed(shown) == (lies, "placed" if lies else "none")
    assert not decide_placed(NOTHING).duplicate
