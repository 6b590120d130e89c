"""The verified copies and the relatives of an image, as the last run of dedupe saw them."""

import logging
from collections.abc import Sequence
from pathlib import Path

from darkroom.core.graphs import connected_components
from darkroom.core.tables import GROUPS, PAIRS, read_table

DEDUPE = Path("data/dedupe")

logger = logging.getLogger(__name__)


def find_copies(root: Path, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the other verified copies of these images, and their other relatives.

    Both as the last run of dedupe saw them; empty without one.
    """
    tables = (root / DEDUPE / "pairs.parquet", root / DEDUPE / "groups.parquet")
    if not all(path.exists() for path in tables):
        logger.warning("purge: dedupe has not run, so that copies of these images are not known")
        return [], []
    pairs, groups = read_table(tables[0], PAIRS), read_table(tables[1], GROUPS)
    same = pairs[pairs["duplicate"]]
    links = list(zip(same["key_a"], same["key_b"], strict=True))
    nodes = {*same["key_a"], *same["key_b"], *groups["key"], *keys}
    component = connected_components(nodes, links)
    wanted = {component[key] for key in keys}
    copies = {key for key in nodes if component[key] in wanted} - set(keys)
    families = set(groups.loc[groups["key"].isin([*keys, *copies]), "family"])
    relatives = set(groups.loc[groups["family"].isin(families), "key"])
    return sorted(copies), sorted(relatives - copies - set(keys))
