"""Official splits: the names that sources use, and which of two wins where they leak."""

from collections.abc import Mapping

from darkroom.core.errors import UserError

SPLITS = ("train", "validation", "test")  # weakest first: test beats validation beats train

SYNONYMS = {
    "train": "train", "training": "train", "validation": "validation", "val": "validation",
    "valid": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


def standard_split(name: str, mapping: Mapping[str, str]) -> str:
    """Return `train`, `validation` or `test` for a source's own name of a split.

    Raises UserError for a name that neither `split.map` nor we know.
    """
    if name in mapping:
        return mapping[name]
    if name.lower() in SYNONYMS:
        return SYNONYMS[name.lower()]
    raise UserError(
        f"a source names the split {name!r}; known are {', '.join(SYNONYMS)}. Say what it means in "
        f"params.yaml, as `split.map: {{{name}: test}}`, or set `split.official: ignore`."
    )


def strength(split: str | None) -> int:
    """Return the rank of a split where sides compete: 0 for none, then train, validation, test."""
    return 0 if split is None else 1 + SPLITS.index(split)
