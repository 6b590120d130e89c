"""Connected components of a graph over keys."""

from collections.abc import Iterable

Pair = tuple[str, str]


def connected_components(keys: Iterable[str], links: Iterable[Pair]) -> dict[str, str]:
    """Return each key's component, named by its smallest key."""
    parent = {key: key for key in keys}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for a, b in links:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return {key: root(key) for key in parent}
