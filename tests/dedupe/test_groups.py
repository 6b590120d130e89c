"""Grouping never chains, and does what a person decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.dedupe.groups import apply_decisions, group_duplicates, unverified_links
from darkroom.labels.decisions import Decisions

KEYS = list("abcdefgh")
PAIRS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)).filter(lambda p: p[0] != p[1])
)


def test_a_chain_is_not_a_group():
    assert group_duplicates("abc", [("a", "b"), ("b", "c")]) == {"a": "a", "b": "a", "c": "c"}


def test_the_best_image_represents():
    assert group_duplicates("bac", [("a", "b"), ("b", "c")]) == {"a": "b", "b": "b", "c": "b"}


@given(PAIRS, st.permutations(KEYS), st.randoms())
def test_groups_do_not_depend_on_order_and_hold_verified_pairs_alone(pairs, ranked, random):
    groups = group_duplicates(ranked, pairs)
    shuffled = [tuple(reversed(p)) if random.random() < 0.5 else p for p in pairs]
    random.shuffle(shuffled)
    assert group_duplicates(ranked, shuffled) == groups
    verified = {frozenset(pair) for pair in pairs}
    assert all(k == r or frozenset((k, r)) in verified for k, r in groups.items())
    assert all(groups[r] == r for r in groups.values())
    assert set(groups) == set(KEYS)


@given(PAIRS, st.permutations(KEYS))
def test_grouping_the_representatives_again_changes_nothing(pairs, ranked):
    groups = group_duplicates(ranked, pairs)
    left = [key for key in ranked if groups[key] == key]
    among = [p for p in pairs if groups[p[0]] == p[0] and groups[p[1]] == p[1]]
    assert group_duplicates(left, among) == {key: key for key in left}


@given(PAIRS, st.permutations(KEYS), st.dictionaries(st.sampled_from(KEYS), st.sampled_from("xy")))
def test_no_group_mixes_labels(pairs, ranked, labels):
    groups = group_duplicates(ranked, pairs, labels={key: {x} for key, x in labels.items()})
    for best in groups.values():
        assert len({labels[k] for k, r in groups.items() if r == best and k in labels}) <= 1
    assert set(groups) == set(KEYS)


def test_pairs_that_share_a_duplicate_are_to_be_verified():
    duplicates = [("a", "b"), ("b", "c")]
    assert unverified_links(group_duplicates("abc", duplicates), duplicates) == [("a", "c")]


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
