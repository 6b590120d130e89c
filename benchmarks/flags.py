"""Compare the flags of clean with those of cleanvision, for `benchmarks.clean`."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.evaluation.intervals import wilson
from darkroom.images.decode import decode
from darkroom.images.resize import resize

OURS_BY_THEIRS = {
    "blurry": "blurry", "dark": "dark", "light": "light", "low_information": "low_information",
    "grayscale": "greyscale", "odd_aspect_ratio": "odd_aspect_ratio", "odd_size": "odd_size",
}  # fmt: skip
RESAMPLES = 2000
CELL_PX, COLUMNS = 220, 6

Flags = NDArray[np.bool_]


def join(summary: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per distinct file that both could check: flags and scores side by side."""
    keys = [hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32] for path in theirs["path"]]
    theirs = theirs.assign(key=keys).drop_duplicates("key").set_index("key")
    ours = summary[summary["is_blurry"].notna()].set_index("key")
    joined = pd.DataFrame({"path": theirs["path"]}).join(ours[[]], how="inner")
    for there, here in OURS_BY_THEIRS.items():
        joined[f"{here}_ours"] = ours[f"is_{here}"].reindex(joined.index).astype(bool)
        joined[f"{here}_theirs"] = theirs[f"is_{there}_issue"].reindex(joined.index).astype(bool)
        joined[f"{here}_our_score"] = ours[f"{here}_score"].reindex(joined.index)
        joined[f"{here}_their_score"] = theirs[f"{there}_score"].reindex(joined.index)
    return joined


def kappa(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Cohen's kappa of tables (..., 4): both, ours alone, theirs alone, neither.

    1 where the two agree on everything, also when nothing is flagged.
    """
    both, ours, theirs, neither = np.moveaxis(counts, -1, 0)
    total = counts.sum(axis=-1)
    observed = (both + neither) / total
    chance = ((both + ours) * (both + theirs) + (theirs + neither) * (ours + neither)) / total**2
    return np.where(observed == 1, 1.0, (observed - chance) / np.where(chance == 1, 1, 1 - chance))


def compare(joined: pd.DataFrame) -> pd.DataFrame:
    """Return per flag the counts, kappa, precision and recall, each with its 95 % interval."""
    draw = np.random.default_rng(0)
    rows = {}
    for flag in OURS_BY_THEIRS.values():
        ours, theirs = joined[f"{flag}_ours"].to_numpy(), joined[f"{flag}_theirs"].to_numpy()
        table = np.array([(ours & theirs).sum(), (ours & ~theirs).sum(), (theirs & ~ours).sum(),
                          (~ours & ~theirs).sum()])  # fmt: skip
        resampled = draw.multinomial(len(joined), table / len(joined), RESAMPLES)
        low, high = np.percentile(kappa(resampled.astype(float)), [2.5, 97.5])
        made = joined["path"].str.contains("/made_", regex=False).to_numpy()
        rows[flag] = {
            "theirs": int(theirs.sum()), "of these made": int((theirs & made).sum()),
            "ours": int(ours.sum()),
            "kappa": f"{float(kappa(table.astype(float))):.3f} ({low:.3f} to {high:.3f})",
            "precision": share(table[0], ours.sum()), "recall": share(table[0], theirs.sum()),
        }  # fmt: skip
    return pd.DataFrame(rows).T


def share(hits: int, of: int) -> str:
    if not of:
        return "–"
    low, high, *_ = wilson(hits, of, 0.95)
    return f"{hits / of:.3f} ({low:.3f} to {high:.3f})"


def differing(joined: pd.DataFrame) -> pd.DataFrame:
    """Return every disagreement: flag, path, both scores and who flagged."""
    rows = [
        {"flag": flag, "path": row.path, "flagged by": "us" if ours else "cleanvision",
         "ours": getattr(row, f"{flag}_our_score"), "theirs": getattr(row, f"{flag}_their_score")}
        for flag in OURS_BY_THEIRS.values()
        for row in joined.itertuples()
        if (ours := getattr(row, f"{flag}_ours")) != getattr(row, f"{flag}_theirs")
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["flag", "path", "flagged by", "ours", "theirs"])


def write_sheet(differences: pd.DataFrame, path: Path) -> None:
    """Write a contact sheet of disagreements, both scores below each picture."""
    cells = [cell(row) for _, row in differences.iterrows()]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS)
    rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
    cv2.imwrite(str(path), np.vstack(rows)[:, :, ::-1])


def cell(row: pd.Series) -> NDArray[np.uint8]:
    image = decode(Path(row["path"]).read_bytes())
    height, width = image.shape[:2]
    scale = (CELL_PX - 40) / max(height, width)
    small = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    drawn = np.full((CELL_PX, CELL_PX, 3), 255, np.uint8)
    drawn[2 : 2 + small.shape[0], 2 : 2 + small.shape[1]] = small
    words = f"{row['flag']} ({row['flagged by']})", f"{row['ours']:.4f} / {row['theirs']:.4f}"
    for line, text in enumerate(words):
        where = (2, CELL_PX - 24 + 14 * line)
        cv2.putText(drawn, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return drawn
