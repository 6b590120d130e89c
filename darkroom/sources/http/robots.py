"""X-Robots-Tag: whether a server forbids the use of what it serves in a data set."""

from collections.abc import Iterable

# Directives that forbid it: those of img2dataset, and their sum `none`.
FORBIDDING = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUE = frozenset(
    {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
)


def forbids_use(tags: Iterable[str], user_agent: str) -> bool:
    """Return whether X-Robots-Tag headers forbid the use to everybody, or to this user agent.

    `noai, noindex` is said to all, `bot: noai` to one; a name holds until the next in its header.
    """
    us = {"*", *(product.partition("/")[0].lower() for product in user_agent.split())}
    for tag in tags:
        named = None
        for part in tag.lower().split(","):
            before, colon, after = (text.strip() for text in part.partition(":"))
            directive = before
            if colon and before not in _WITH_VALUE:
                named, directive = before, after
            if directive in FORBIDDING and (named is None or named in us):
                return True
    return False
