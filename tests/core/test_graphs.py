"""Components of a graph over keys."""

from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.graphs import connected_components

KEYS = list("abcdefgh")
PAIRS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)).filter(lambda p: p[0] != p[1])
)


@given(PAIRS)
def test_linked_keys_share_a_component_named_by_its_smallest(pairs):
    component = connected_components(KEYS, pairs)
    assert all(component[a] == component[b] for a, b in pairs)
    assert all(component[key] <= key for key in KEYS)
