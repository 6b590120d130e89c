"""Best and worst by each score that clean gave, and how the scores lie around its limit."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from stages.lib.params import CleanParams
from stages.pages.bins import bars, count
from stages.pages.charts import FIFTHS, Axis
from stages.pages.sheets import Album, Frame

SHOWN = 5  # images at each end
BINS = 25

# what the lowest score means; a check that is not listed shows its name alone
MEANINGS = {
    "blurry": "low: few edges at a small size",
    "dark": "low: even its brightest parts are dark",
    "light": "low: even its darkest parts are light",
    "low_information": "low: few different colours",
    "greyscale": "low: no colour at all",
    "odd_aspect_ratio": "low: far wider than high, or far higher than wide",
    "odd_size": "low: far from the size of most images",
    "file_size": "low: far more or fewer bytes than most files",
    "odd_file_size": "low: far more or fewer bytes than most files",
    "resolution": "low: far more or fewer pixels than most images",
    "odd_resolution": "low: far more or fewer pixels than most images",
    "bits_per_pixel": "low: compressed until little is left",
    "border": "low: wide borders of one colour",
    "borders": "low: wide borders of one colour",
    "jpeg_quality": "low: coarse JPEG quantisation",
    "clipped": "low: many pixels at black or white",
    "colour_cast": "low: one colour lies over everything",
}


class Shot(NamedTuple):
    """One image of a strip, and whether the check flags it."""

    frame: Frame
    flagged: bool


class Check(NamedTuple):
    """One score over the whole images: its limit, its distribution, and its two ends."""

    name: str
    meaning: str
    limit: float | None
    flagged: int
    measured: int
    chart: Markup
    lowest: tuple[Shot, ...]
    highest: tuple[Shot, ...]


def shown(summary: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of clean's summary that the strips choose from.

    Those that it kept, and those that a flag alone rejects, so that its limit can be judged; all of
    them decoded to their end. Copies that dedupe set aside would show one picture several times.
    """
    flags = {name.removeprefix("is_") for name in summary if name.startswith("is_")}
    whole = (summary["status"] == "kept") | summary["reason"].isin(flags)
    copies = groups["representative"].notna() & (groups["representative"] != groups["key"])
    rows = summary[whole & ~summary["key"].isin(set(groups.loc[copies, "key"]))]
    return rows.sort_values("key", ignore_index=True)


def describe(
    album: Album, rows: pd.DataFrame, names: Mapping[str, str], params: CleanParams
) -> list[Check]:
    """Return every check that measured an image, in the order of the summary's columns."""
    pictures: dict[str, str | None] = {}
    found = []
    for column in [name for name in rows if name.endswith("_score")]:
        issue = column.removesuffix("_score")
        flags = rows.get(f"is_{issue}", pd.Series(False, rows.index)).fillna(False).astype(bool)
        scored = rows.assign(score=rows[column].astype(float), flagged=flags)
        scored = scored[scored["score"].notna()].sort_values(["score", "key"], kind="stable")
        if not len(scored):
            continue
        low = scored.head(SHOWN)
        high = scored.iloc[max(SHOWN, len(scored) - SHOWN) :]
        for key in [*low["key"], *high["key"]]:
            if key not in pictures:
                pictures[key] = album.miniature(key)
        limit = getattr(params, f"{issue}_below", None)
        found.append(
            Check(
                issue.replace("_", " "), MEANINGS.get(issue, ""), limit,
                int(scored["flagged"].sum()), len(scored), _chart(scored["score"], issue, limit),
                _strip(low, pictures, names), _strip(high, pictures, names),
            )
        )  # fmt: skip
    return found


def _chart(values: pd.Series, issue: str, limit: float | None) -> Markup:
    title = f"Images by score of {issue.replace('_', ' ')}"
    across = Axis("score", 0.0, 1.0, FIFTHS)
    return bars(count(values, 0, 1, BINS), across, title, limit=limit, size=(320, 150))


def _strip(
    rows: pd.DataFrame, pictures: Mapping[str, str | None], names: Mapping[str, str]
) -> tuple[Shot, ...]:
    return tuple(
        Shot(
            Frame(
                pictures[row.key], names.get(row.key, row.key), f"{abs(row.score):.3f}",
                " ".join(["flagged"] * row.flagged + ["rejected"] * (row.status != "kept")),
            ),
            bool(row.flagged),
        )
        for row in rows.itertuples()
    )  # fmt: skip
