import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.dedupe.apply_decisions import apply_decisions
from darkroom.dedupe.groups import group_duplicates
from darkroom.labels.decisions import Decisions

letters = st.sampled_from("abcdef")
pairs = st.frozensets(
    st.tuples(letters, letters).filter(lambda p: p[0] != p[1]).map(lambda p: tuple(sorted(p))),
    max_size=6,
)


def group(ranked, found, **decisions):
    """Return groups as words, each with its representative first."""
    decided = Decisions(**{name: frozenset(value) for name, value in decisions.items()})
    links = apply_decisions(found, list(ranked), decided)
    representative = group_duplicates(ranked, links, decided.not_duplicate)
    members = {key: key for key in ranked if representative[key] == key}
    for key in ranked:
        if representative[key] != key:
            members[representative[key]] += key
    return " ".join(members.values())


AB, AC, BC, CD = ("a", "b"), ("a", "c"), ("b", "c"), ("c", "d")


@pytest.mark.parametrize(
    ("ranked", "found", "decisions", "groups"),
    [
        pytest.param("abc", [AB], {}, "ab c", id="nothing decided"),
        pytest.param("abc", [AB], {"not_duplicate": [AB]}, "a b c", id="taken apart"),
        pytest.param("abc", [], {"duplicate": [BC]}, "a bc", id="merged"),
        pytest.param("abc", [AB], {"duplicate": [BC]}, "abc", id="the same as a copy"),
        pytest.param("abcd", [AB, CD], {"duplicate": [BC]}, "abc d" , id="no further than one"),
        pytest.param("ab", [], {"duplicate": [("a", "x")]}, "a b", id="an image that is gone"),
        pytest.param("abc", [AB, AC], {"keep": "b"}, "ac b", id="kept beside its better"),
        pytest.param("abc", [BC], {"keep": "b"}, "a bc", id="kept, and represents"),
        pytest.param("bac", [AB, BC], {"not_duplicate": [AC]}, "ba c", id="both like a third"),
        pytest.param(
            "abc", [], {"duplicate": [AB, BC], "not_duplicate": [AC]}, "ab c", id="no beats yes"
        ),
    ],
)  # fmt: skip
def test_groups_are_as_people_say(ranked, found, decisions, groups):
    assert group(ranked, found, **decisions) == groups


@given(pairs, pairs, pairs, st.frozensets(letters))
def test_a_decision_is_always_seen_in_the_groups(found, same, apart, keep):
    apart -= same
    decisions = Decisions(keep=keep, duplicate=same, not_duplicate=apart)
    links = apply_decisions(found, list("abcdef"), decisions)
    representative = group_duplicates("abcdef", links, apart)
    assert all(representative[a] != representative[b] for a, b in apart)
    assert all(representative[key] == key for key in keep)
    if not apart and not keep:
        assert all(representative[a] == representative[b] for a, b in same)
    assert set(representative) == set("abcdef")
