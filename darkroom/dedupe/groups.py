"""Group near-duplicates without chaining: each image goes with the one it was verified against."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from types import MappingProxyType

from darkroom.core.graphs import Pair, connected_components
from darkroom.labels.decisions import Decisions


def group_duplicates(
    ranked: Sequence[str],
    duplicates: Iterable[Pair],
    apart: Set[Pair] = frozenset(),
    labels: Mapping[str, Set[str]] = MappingProxyType({}),
) -> dict[str, str]:
    """Return each key's representative: the best image that it was verified against itself.

    `ranked` holds every key, best first. An image that is not yet in a group represents itself
    and takes in those that are its *own* duplicates, so that A~B and B~C never put A with C unless
    that pair was verified as well. No group holds both images of a pair in `apart`, keys in order,
    nor two whose `labels` have none in common: the better one is in it. The result does not depend
    on the order of `duplicates`.
    """
    rank = {key: number for number, key in enumerate(ranked)}
    own = _partners(duplicates)
    representative: dict[str, str] = {}
    for key in ranked:
        if key in representative:
            continue
        representative[key] = key
        group, known = [key], labels.get(key)
        free = [other for other in own.get(key, ()) if other not in representative]
        for other in sorted(free, key=rank.__getitem__):
            if any(_ordered(other, member) in apart for member in group):
                continue
            its = labels.get(other)
            if known is None or its is None or known & its:
                representative[other] = key
                group.append(other)
                known = known or its
    return representative


def unverified_links(representative: Mapping[str, str], duplicates: Iterable[Pair]) -> list[Pair]:
    """Return pairs that share a duplicate but were not compared yet, best partner first.

    A~B and B~C make A–C worth verifying, however far apart their embeddings lie.
    """
    known = {_ordered(*pair) for pair in duplicates}
    wanted = {
        _ordered(representative[middle], other)
        for middle, others in _partners(known).items()
        for other in others - {representative[middle]}
    }
    return sorted(wanted - known)


def apply_decisions(pairs: Iterable[Pair], ranked: list[str], decisions: Decisions) -> list[Pair]:
    """Return the pairs of copies that grouping shall use; `ranked` holds every key, best first.

    Pairs that a person calls copies are added, and what holds for one of the two then holds for
    the other, so that they always end in one group. Pairs called no copies are taken out. So are
    those in which a kept image is the worse one: it represents itself, and others perhaps.
    """
    rank = {key: number for number, key in enumerate(ranked)}
    same = [pair for pair in decisions.duplicate if rank.keys() >= set(pair)]
    links = {_ordered(*pair) for pair in pairs} | set(same)
    links = _share(links, same) - decisions.not_duplicate
    return sorted(p for p in links if max(p, key=rank.__getitem__) not in decisions.keep)


def _share(links: set[Pair], same: Iterable[Pair]) -> set[Pair]:
    """Give all images that are the same to a person each other's partners."""
    component = connected_components({key for pair in same for key in pair}, same)
    members = defaultdict(set)
    for key, name in component.items():
        members[name].add(key)
    return links | {
        _ordered(one, two)
        for a, b in links
        for one in members.get(component.get(a, ""), {a})
        for two in members.get(component.get(b, ""), {b})
        if one != two
    }


def _partners(pairs: Iterable[Pair]) -> defaultdict[str, set[str]]:
    """Return the keys that each key is paired with."""
    partners = defaultdict(set)
    for a, b in pairs:
        partners[a].add(b)
        partners[b].add(a)
    return partners


def _ordered(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)
