"""Group near-duplicates without chaining: each image goes with the one it was verified against."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

from darkroom.core.graphs import Pair


def group_duplicates(
    ranked: Sequence[str], duplicates: Iterable[Pair], apart: Set[Pair] = frozenset()
) -> dict[str, str]:
    """Return each key's representative: the best image that it was verified against itself.

    `ranked` holds every key, best first. An image that is not yet in a group represents itself
    and takes in those that are its *own* duplicates, so that A~B and B~C never put A with C unless
    that pair was verified as well. No group holds both images of a pair in `apart`, keys in order:
    the better one is in it. The result does not depend on the order of `duplicates`.
    """
    rank = {key: number for number, key in enumerate(ranked)}
    own = defaultdict(set)
    for a, b in duplicates:
        own[a].add(b)
        own[b].add(a)
    representative: dict[str, str] = {}
    for key in ranked:
        if key in representative:
            continue
        representative[key] = key
        group = [key]
        for other in sorted(own[key] - representative.keys(), key=rank.__getitem__):
            if not any((min(other, member), max(other, member)) in apart for member in group):
                representative[other] = key
                group.append(other)
    return representative


def unverified_links(representative: Mapping[str, str], duplicates: Iterable[Pair]) -> list[Pair]:
    """Return pairs that share a duplicate but were not compared yet, best partner first.

    A~B and B~C make A–C worth verifying, however far apart their embeddings lie.
    """
    known = {tuple(sorted(pair)) for pair in duplicates}
    own = defaultdict(set)
    for a, b in known:
        own[a].add(b)
        own[b].add(a)
    wanted = set()
    for middle in own:
        for other in own[middle]:
            pair = tuple(sorted((representative[middle], other)))
            if pair[0] != pair[1] and pair not in known:
                wanted.add((pair[0], pair[1]))
    return sorted(wanted)
