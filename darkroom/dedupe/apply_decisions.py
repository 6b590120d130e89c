"""Apply what a person decided about pairs to what verification says."""

from collections import defaultdict
from collections.abc import Iterable, Set

from darkroom.core.graphs import connected_components
from darkroom.labels.decisions import Decisions, Pair


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


def _share(links: Set[Pair], same: Iterable[Pair]) -> set[Pair]:
    """Give all images that are the same to a person each other's partners."""
    named = {key for pair in same for key in pair}
    component = connected_components(named, same)
    members = defaultdict(set)
    for key, name in component.items():
        members[name].add(key)
    shared = set(links)
    for a, b in links:
        for one in members.get(component.get(a, ""), {a}):
            for two in members.get(component.get(b, ""), {b}):
                if one != two:
                    shared.add(_ordered(one, two))
    return shared


def _ordered(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)
