"""Best and worst by each score that clean gave, and how the scores lie around its limit."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from darkroom.core.params.clean import CleanParams
from darkroom.report.charts import FIFTHS, Axis
from darkroom.report.formatting import words
from darkroom.report.histograms import bars, count
from darkroom.report.image_store import ImageStore
from darkroom.report.thumbnails import Thumbnail

IMAGES_PER_END = 5
BINS = 25

# what a low score means; a check that is not listed shows its name alone
MEANINGS = {
    "blurry": "low: few edges",
    "dark": "low: even its brightest parts are dark",
    "light": "low: even its darkest parts are light",
    "low_information": "low: few different colours",
    "greyscale": "0: stored as grey, 1: in colour",
    "odd_aspect_ratio": "short side / long side",
    "odd_size": "low: its sides are far from the middle half of all",
    "odd_resolution": "low: many times more or fewer pixels than most",
    "odd_file_size": "low: many times more or fewer bytes than most",
    "low_bits_per_pixel": "bits of the file per pixel, at most 1",
    "low_jpeg_quality": "low: strongly compressed; 1 where no JPEG",
    "uniform_border": "share left without borders of one colour",
    "clipped": "low: many pixels are black or white",
    "colourless": "share of pixels that show colour",
    "colour_cast": "low: one colour lies over everything",
}


def select_images(summary: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of clean's summary that are shown at the ends of a check.

    Those that it kept, and those that a flag alone rejects, so that its limit can be judged; all of
    them decoded to their end. Copies that dedupe set aside would show one picture several times.
    """
    flags = {name.removeprefix("is_") for name in summary if name.startswith("is_")}
    whole = (summary["status"] == "kept") | summary["reason"].isin(flags)
    copies = groups["representative"].notna() & (groups["representative"] != groups["key"])
    rows = summary[whole & ~summary["key"].isin(set(groups.loc[copies, "key"]))]
    return rows.sort_values("key", ignore_index=True)


def describe(
    store: ImageStore, rows: pd.DataFrame, names: Mapping[str, str], params: CleanParams
) -> list[dict[str, Any]]:
    """Return every check that measured an image, in the order of the summary's columns.

    Where all scores are `equal` there is no best and no worst.
    """
    pictures: dict[str, str | None] = {}
    checks = []
    for column in [name for name in rows if name.endswith("_score")]:
        issue = column.removesuffix("_score")
        flags = rows.get(f"is_{issue}", pd.Series(False, rows.index)).fillna(False).astype(bool)
        scored = rows.assign(score=rows[column].astype(float), flagged=flags)
        scored = scored[scored["score"].notna()].sort_values(["score", "key"], kind="stable")
        if not len(scored):
            continue
        low = scored.head(IMAGES_PER_END)
        equal = bool(scored["score"].iloc[0] == scored["score"].iloc[-1])
        high = scored.iloc[len(low) :].tail(0 if equal else IMAGES_PER_END)
        for key in {*low["key"], *high["key"]} - pictures.keys():
            pictures[key] = store.small_thumbnail(key)
        limit = getattr(params, f"{issue}_below", None)
        checks.append({
            "name": words(issue).replace("jpeg", "JPEG"), "meaning": MEANINGS.get(issue, ""),
            "limit": limit, "flagged": int(scored["flagged"].sum()), "measured": len(scored),
            "chart": bars(count(scored["score"], 0, 1, BINS), Axis("score", 0.0, 1.0, FIFTHS),
                          f"Images by score of {words(issue)}", limit=limit, size=(320, 150)),
            "equal": equal,
            "lowest": _images(low, pictures, names), "highest": _images(high, pictures, names),
        })  # fmt: skip
    return checks


def _images(
    rows: pd.DataFrame, pictures: Mapping[str, str | None], names: Mapping[str, str]
) -> list[tuple[Thumbnail, bool]]:
    """Return the images of one end, and whether the check flags each."""
    images = []
    for row in rows.itertuples():
        detail = " ".join(["flagged"] * row.flagged + ["rejected"] * (row.status != "kept"))
        name, caption = names.get(row.key, row.key), f"{abs(row.score):.3f}"
        images.append((Thumbnail(pictures[row.key], name, caption, detail), bool(row.flagged)))
    return images
