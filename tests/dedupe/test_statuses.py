"""What is rejected is what the settings say, and labels and people are heard."""

import pandas as pd
import pytest

from darkroom.core.params.dedupe import DedupeParams
from darkroom.dedupe.statuses import group_images, mark_related
from darkroom.labels.decisions import Decisions


def pair(a, b, decided_by, normalised=0.7, agreement=0.99):
    duplicate = decided_by in {"whole", "matches"}
    return a, b, normalised, agreement, duplicate, decided_by


PAIRS = [
    pair("a", "b", "whole"),
    pair("a", "c", "scene", 0.5),
    pair("a", "d", "none", 0.65),
    pair("a", "e", "none", 0.4),
]


@pytest.fixture
def end(values):
    """Return a function that gives each key, best first, its status or the reason why it goes."""

    def run(pairs, labels="", decisions=None, official=None, unusual=-1.0, **changes):
        keys = sorted({key for row in pairs for key in row[:2]})
        absent = [None] * len(keys)
        frame = pd.DataFrame(
            {
                "key": keys, "status": "kept", "reason": absent,
                "label": [{"-": None}.get(x, x) for x in labels] or absent, "ratings": absent,
                "mean": absent, "std": absent, "source_group": absent,
                "official_split": official or absent,
                "records": 1, "label_conflict": False, "width": 9, "height": 9,
                "blurry_score": 1.0, "dark_score": 1.0, "light_score": 1.0,
                "low_information_score": 1.0,
            }
        )  # fmt: skip
        columns = ["key_a", "key_b", "normalised", "agreement", "duplicate", "decided_by"]
        params = DedupeParams.model_validate({**values["dedupe"], **changes})
        table = mark_related(pd.DataFrame(pairs, columns=columns), params, unusual)
        groups = group_images(frame, table, params, decisions or Decisions()).set_index("key")
        ends = groups["reason"].where(groups["status"] != "kept", "kept")
        return " ".join(ends), groups

    return run


@pytest.mark.parametrize(
    ("reject", "ends"),
    [
        ("exact", "kept kept kept kept kept"),
        ("edits", "kept copy kept kept kept"),
        ("all", "kept copy near_duplicate near_duplicate kept"),
    ],
)
def test_one_setting_says_what_goes(end, reject, ends):
    said, groups = end(PAIRS, reject=reject)
    assert said == ends
    assert "".join(groups["family"]) == "aaaae"


@pytest.mark.parametrize(
    ("settings", "families"),
    [
        ({}, "aaaae"),
        ({"relatives": "scenes"}, "aaade"),
        ({"relatives": "copies"}, "aacde"),
        ({"unusual": 0.6}, "aacae"),  # a scene of 0.5 is nothing in a set like this
        ({"unusual": 0.9}, "aacde"),  # copies stay together
    ],
    ids=str,
)
def test_relatives_are_what_the_setting_says_and_the_set_makes_unusual(end, settings, families):
    assert "".join(end(PAIRS, **settings)[1]["family"]) == families


def test_nearness_makes_no_chains_and_scenes_do(end):
    def chain(decided_by):
        links = [pair(a, b, decided_by) for a, b in zip("abcde", "bcdef", strict=False)]
        return "".join(end(links)[1]["family"])

    assert chain("none") == "aaccee"
    assert chain("scene") == "aaaaaa"


def test_the_unlabelled_best_takes_in_no_two_labels(end):
    found = [pair("a", "b", "whole"), pair("a", "c", "whole"), pair("a", "d", "whole")]
    assert end(found, "-xyx", official=["test", *[None] * 3])[0] == "kept copy kept copy"


@pytest.mark.parametrize("rule", ["conflict", "reject"])
def test_weak_evidence_outweighs_no_labels(end, rule):
    assert (
        end([pair("a", "b", "whole", agreement=0.9)], "xy", labelled_apart=rule)[0] == "kept kept"
    )


AB = frozenset({("a", "b")})


@pytest.mark.parametrize("rule", ["keep", "conflict", "reject"])
def test_a_person_stands_above_labels(end, rule):
    found = [pair("a", "b", "whole")]
    assert end(found, "xy", Decisions(duplicate=AB), labelled_apart=rule)[0] == "kept copy"
    assert end(found, "xy", Decisions(not_duplicate=AB), labelled_apart=rule)[0] == "kept kept"
