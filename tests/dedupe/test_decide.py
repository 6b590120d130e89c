"""The rule: what proves a copy, and what only a relative."""

import pytest

from darkroom.dedupe.decide import decide
from darkroom.dedupe.verify import NOTHING, Evidence

THRESHOLD = 0.5


@pytest.mark.parametrize(
    ("normalised", "evidence", "verdict"),
    [
        pytest.param(0.3, Evidence(40, 1.0, 0.95, 0.9, 0.01), (True, "keypoints"), id="copy"),
        pytest.param(0.3, Evidence(0, 1.0, 0.99, 0.99, 0.0), (True, "whole"), id="lies on it"),
        pytest.param(0.6, Evidence(9, 1.0, 0.62, 0.6, 1.5), (True, "keypoints"), id="captioned"),
        pytest.param(0.4, Evidence(40, 1.0, 0.62, 0.6, 0.3), (False, "scene"), id="same person"),
        pytest.param(0.6, Evidence(66, 1.0, 0.67, 0.75, 0.04), (False, "scene"), id="burst"),
        pytest.param(0.6, Evidence(109, 1.0, 0.63, 0.71, 0.2), (True, "keypoints"), id="reframed"),
        pytest.param(0.6, Evidence(40, 0.4, 0.99, 0.99, 0.0), (False, "scene"), id="next part"),
        pytest.param(0.6, Evidence(0, 1.0, 0.7, 0.7, 0.02), (True, "likeness"), id="blurred"),
        pytest.param(0.4, Evidence(0, 1.0, 0.7, 0.7, 0.02), (False, "none"), id="not near enough"),
        pytest.param(0.9, NOTHING, (False, "none"), id="nothing seen"),
    ],
)
def test_evidence_decides(normalised, evidence, verdict):
    assert decide(normalised, evidence, THRESHOLD) == verdict
