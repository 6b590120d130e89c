import pandas as pd
import pytest

from darkroom.labels.decisions import Decision
from darkroom.review.items import Item, certainty, is_settled

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.mark.parametrize(
    ("evidence", "low", "high"),
    [
        pytest.param((0.9, 1.0, 1.0, 300), 0.99, 1.0, id="all say a copy"),
        pytest.param((0.1, 0.0, 0.0, 0), -1.0, -0.99, id="all say none"),
        pytest.param((0.5, 0.75, 0.5, 10), -0.01, 0.01, id="none says anything"),
        pytest.param((0.9, 0.1, 0.1, 0), -0.4, -0.3, id="near, but no proof"),
        pytest.param((0.6, 1.0, 1.0, 0), 0.7, 0.9, id="the whole picture for keypoints"),
        pytest.param((0.5, None, None, 0), -0.7, -0.6, id="never verified"),
    ],
)
def test_certainty_says_how_much_a_person_is_needed(evidence, low, high):
    columns = ["normalised", "agreement", "ssim", "inliers"]
    pairs = pd.DataFrame([evidence], columns=columns, dtype=float)
    assert low <= certainty(pairs, threshold=0.5)[0] <= high


GROUP, PAIR = Item("copies", (A, B, C)), Item("candidates", (A, B))
CONFLICT, REJECTED = Item("conflicts", (A,)), Item("rejected", (A,))
KEEP, LABEL = Decision(A, "", "keep"), Decision(A, "", "label", "x")
OTHER, MEAN = Decision(B, "", "reject"), Decision(A, "", "mean", "3")
SAME, APART = Decision(A, B, "duplicate"), Decision(A, C, "not_duplicate")


@pytest.mark.parametrize(
    ("item", "rows", "settled"),
    [
        (GROUP, [], False),
        (GROUP, [SAME], False),
        (GROUP, [SAME, APART], True),
        (GROUP, [OTHER, APART], True),
        (GROUP, [KEEP], False),
        (PAIR, [], False),
        (PAIR, [SAME], True),
        (PAIR, [KEEP], True),
        (PAIR, [OTHER], True),
        (PAIR, [APART], False),
        (CONFLICT, [LABEL], True),
        (CONFLICT, [MEAN], True),
        (CONFLICT, [KEEP], True),
        (REJECTED, [], False),
        (REJECTED, [LABEL], False),
        (REJECTED, [KEEP], True),
    ],
)
def test_an_item_is_settled_when_nothing_is_left_to_say(item, rows, settled):
    assert is_settled(item, {row.subject: row for row in rows}) == settled


def test_of_a_broken_image_there_is_nothing_to_decide():
    assert is_settled(REJECTED, {}, frozenset([A]))
