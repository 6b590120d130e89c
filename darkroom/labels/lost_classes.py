"""Which classes a stage leaves without any image, and why; and what stops it: none left at all."""

import logging
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from darkroom.core.errors import LONGEST, UserError, visible

logger = logging.getLogger(__name__)

MOST_NAMED = 10  # classes in a message


def say_lost_classes(stage: str, rows: pd.DataFrame, remedies: Mapping[str, str]) -> None:
    """Warn of each class that this stage takes the last image of.

    `rows` are what came in: `label`, `status` and `reason`. `remedies` say by reason what helps.
    """
    rows = rows[rows["label"].notna()]
    lost = rows[~rows["label"].isin(rows.loc[rows["status"] == "kept", "label"])]
    if lost.empty:
        return
    why = [
        f"{visible(str(label))[:LONGEST]!r} ({_count(inside)})"
        for label, inside in lost.groupby("label")["reason"]
    ]
    more = f" and {len(why) - MOST_NAMED} more" if len(why) > MOST_NAMED else ""
    logger.warning(
        "%s: %d of %d classes lose all their images and cannot be learned: %s%s; %s",
        stage, len(why), rows["label"].nunique(), ", ".join(why[:MOST_NAMED]), more,
        _remedy(lost["reason"], remedies),
    )  # fmt: skip


def refuse_nothing_kept(
    stage: str, rows: pd.DataFrame, remedies: Mapping[str, str], where: str
) -> None:
    """Raise UserError where images came in and none is kept; `where` has the reason of each."""
    if len(rows) and not (rows["status"] == "kept").any():
        raise UserError(
            f"{stage}: none of the {len(rows)} images is kept: {_count(rows['reason'])}. There is"
            f" nothing left to go on with; {_remedy(rows['reason'], remedies)}. {where}"
        )


def _count(reasons: pd.Series) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common())


def _remedy(reasons: pd.Series, remedies: Mapping[str, str]) -> str:
    """Return what helps against the commonest of the reasons that have a remedy."""
    for reason, _ in Counter(reasons).most_common():
        if reason in remedies:
            return remedies[str(reason)]
    return "correct the source"
