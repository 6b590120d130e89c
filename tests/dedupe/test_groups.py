"""Grouping never chains."""

from hypothesis import given
from hypothesis import strategies as st

from darkroom.dedupe.groups import group_duplicates, unverified_links

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


def test_pairs_that_share_a_duplicate_are_to_be_verified():
    duplicates = [("a", "b"), ("b", "c")]
    assert unverified_links(group_duplicates("abc", duplicates), duplicates) == [("a", "c")]
