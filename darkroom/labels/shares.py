"""Whether the splits are as asked: counts by split and stratum, and in words what prevents it."""

import logging

import pandas as pd

from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree
from darkroom.core.params.split import SplitParams
from darkroom.labels.allocation import TOLERANCE
from darkroom.labels.labelled import is_labelled, name_labels
from darkroom.labels.official_splits import SPLITS

logger = logging.getLogger(__name__)


def asked_shares(params: SplitParams) -> dict[str, float]:
    """Return the share of the images that params.yaml asks for, by split."""
    held_out = params.validation + params.test
    return {"train": 1 - held_out, "validation": params.validation, "test": params.test}


def count_splits(kept: pd.DataFrame, params: SplitParams) -> MetricTree:
    """Return images, groups and share of each split, asked and achieved, and images by stratum."""
    tree: MetricTree = {}
    for name, asked in asked_shares(params).items():
        inside = kept[kept["split"] == name]
        tree[name] = {
            "images": len(inside), "groups": int(inside["split_group"].nunique()),
            "share": len(inside) / len(kept) if len(kept) else None, "asked": round(asked, 9),
        }  # fmt: skip
    return tree | {"strata": count_strata(kept).to_dict(orient="index")}


def count_strata(kept: pd.DataFrame) -> pd.DataFrame:
    """Return the images of each stratum, by name as a key of metrics, in each split."""
    counts = kept.groupby(["stratum", "split"]).size().unstack(fill_value=0)
    return counts.reindex(columns=SPLITS, fill_value=0)


def say_shares(kept: pd.DataFrame, params: SplitParams) -> None:
    """Log what the splits got beside what was asked, and what prevents more."""
    achieved = kept["split"].value_counts(normalize=True)
    asked = asked_shares(params)
    words = ", ".join(
        f"{name} {achieved.get(name, 0):.1%} (asked {share:.0%})" for name, share in asked.items()
    )
    off = max(abs(achieved.get(name, 0) - share) for name, share in asked.items())
    if off > TOLERANCE:
        logger.warning("split: %s: %s", words, find_cause(kept, params))
    else:
        logger.info("split: %s", words)
    counts, remedy = count_strata(kept), "add images of other groups"
    kind = "fifths of the ratings"
    if kept["label"].notna().any():
        kind, remedy = "classes", f"{remedy}, or leave them out with dedupe.small_classes: reject"
    for name, share in asked.items():
        absent = counts.index[counts[name] == 0]
        if len(absent) and share > 0:
            logger.warning(
                "split: %d of %d %s have no image in %s, where nothing is known of them: %s; %s",
                len(absent), len(counts), kind, name, name_labels(absent), remedy,
            )  # fmt: skip


def find_cause(kept: pd.DataFrame, params: SplitParams) -> str:
    """Return in a sentence what keeps the splits from their shares, and what would help."""
    sizes = kept["split_group"].value_counts()
    if params.official == "respect" and kept["official_split"].notna().any():
        return "the sources name splits of their own, which split.official: respect keeps"
    if sizes.iloc[0] > TOLERANCE * len(kept):
        return name_group(kept, sizes.index[0])
    return (
        f"small classes come first to train, and earlier runs may have decided the rest of the"
        f" {len(sizes)} groups; delete data/split.parquet to draw them all again"
    )


def name_group(kept: pd.DataFrame, group: str) -> str:
    """Return what the largest group is, how large, and which setting would part it."""
    inside = kept[kept["split_group"] == group]
    size = f"holds {len(inside)} of {len(kept)} images, which stay in one split"
    named = inside["source_group"].dropna()
    if len(named):
        return (
            f"the source group {named.iloc[0]!r} {size}; correct `group` in the label table if they"
            " do not depend on each other"
        )
    return (
        f"one family of look-alikes (with {group}) {size}; set dedupe.relatives to scenes or copies"
        " if they are no relatives, or add images of other scenes"
    )


def refuse_unfilled(kept: pd.DataFrame, params: SplitParams, task: str) -> None:
    """Raise UserError where images are labelled for the task, but training lacks a split of them.

    It needs train and validation; without test there are no metrics, which is said and no error.
    """
    labelled = kept[is_labelled(kept, task)] if task != "none" else kept.head(0)
    empty = [name for name in SPLITS if not (labelled["split"] == name).any()]
    if not len(labelled) or not empty:
        return
    if empty == ["test"]:
        logger.warning("split: no labelled image in test: %s", find_cause(kept, params))
        return
    groups = labelled["split_group"].nunique()
    raise UserError(
        f"split: none of the {len(labelled)} labelled images is in {' and '.join(empty)}, while"
        f" training needs images in train and validation. They are of {groups} groups that stay"
        f" together; {find_cause(kept, params)}. To go on without training, set train.task: none"
        " in params.yaml."
    )
