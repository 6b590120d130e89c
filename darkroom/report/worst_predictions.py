"""The test images that the model gets most wrong, as contact sheets.

Classification: the lowest probability of the true class, per kind of confusion. Rating: the largest
error in either direction. One class: outliers with the lowest score, normal images with the
highest. How many are shown is fixed; ties are broken by key.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from darkroom.report.thumbnails import Album, Frame

SHOWN = 24  # images in all: at about 5 KB each they are a small part of the page
MOST_KINDS = 6  # of confusions, the most frequent first

Source = Mapping[str, tuple[str, str]]  # key -> source and name


class Sheet(NamedTuple):
    """One kind of mistake: what it is, the worst images, and how many there are."""

    title: str
    frames: list[Frame]
    total: int


def describe(
    album: Album, index: pd.DataFrame, predictions: pd.DataFrame, normal_class: str | None
) -> list[Sheet]:
    """Return the sheets of whatever was predicted on the test split; none without predictions."""
    if "split" not in predictions:
        return []
    test = predictions[predictions["split"] == "test"].sort_values("key", ignore_index=True)
    arrived = first_records(index)
    columns = set(test.columns)
    if {"target_mean", "predicted_mean"} <= columns:
        return _ratings(album, test, arrived)
    if {"target_label", "outlier_score"} <= columns:
        return _outliers(album, test, arrived, normal_class)
    if {"target_label", "predicted_label"} <= columns:
        return _confusions(album, test, arrived)
    return []


def first_records(index: pd.DataFrame) -> Source:
    """Return the first source and name under which each key arrived."""
    rows = index[(index["status"] == "kept") & index["key"].notna()]
    rows = rows.sort_values(["source", "name"]).drop_duplicates("key")
    pairs = zip(rows["source"], rows["name"], strict=True)
    return dict(zip(rows["key"], pairs, strict=True))


def _confusions(album: Album, test: pd.DataFrame, arrived: Source) -> list[Sheet]:
    """Return a sheet per kind of confusion, the most frequent first."""
    rows = test.dropna(subset=["target_label", "predicted_label"])
    wrong = rows[rows["target_label"] != rows["predicted_label"]]
    wrong = wrong.assign(given=[_given(row) for row in wrong.to_dict("records")])
    sizes = wrong.groupby(["target_label", "predicted_label"]).size()
    kinds = sorted(sizes.index, key=lambda kind: (-int(sizes[kind]), kind))[:MOST_KINDS]
    found = []
    for target, predicted in kinds:
        same = (wrong["target_label"] == target) & (wrong["predicted_label"] == predicted)
        worst = wrong[same].sort_values(["given", "key"]).head(SHOWN // len(kinds))
        frames = [_frame(album, arrived, row.key, f"{row.given:.3f}") for row in worst.itertuples()]
        found.append(Sheet(f"{target}, predicted as {predicted}", frames, int(same.sum())))
    return found


def _given(row: Mapping[str, object]) -> float:
    """Return the probability of the true class: none for a class that the model does not know."""
    found = row.get(f"probability_{row['target_label']}")
    return float(found) if isinstance(found, int | float) else 0.0


def _ratings(album: Album, test: pd.DataFrame, arrived: Source) -> list[Sheet]:
    """Return those predicted furthest above their target, and those furthest below."""
    rows = test.dropna(subset=["target_mean", "predicted_mean"])
    rows = rows.assign(error=rows["predicted_mean"] - rows["target_mean"])
    found = []
    for title, sign in (("Predicted too high", 1), ("Predicted too low", -1)):
        side = rows[rows["error"] * sign > 0]
        worst = side.assign(size=-side["error"].abs()).sort_values(["size", "key"])
        frames = [
            _frame(album, arrived, row.key, f"{row.target_mean:.2f} → {row.predicted_mean:.2f}",
                   f"{row.error:+.2f}".replace("-", "−"))
            for row in worst.head(SHOWN // 2).itertuples()
        ]  # fmt: skip
        found.append(Sheet(title, frames, len(side)))
    return [sheet for sheet in found if sheet.frames]


def _outliers(
    album: Album, test: pd.DataFrame, arrived: Source, normal_class: str | None
) -> list[Sheet]:
    """Return the outliers that look most normal, and the normal images that look least so."""
    rows = test.dropna(subset="outlier_score")
    normal = rows["target_label"] == normal_class
    sides = (
        ("Outliers with the lowest scores", rows[~normal], True),
        ("Normal images with the highest scores", rows[normal], False),
    )
    found = []
    for title, side, rising in sides:
        worst = side.sort_values(["outlier_score", "key"], ascending=[rising, True])
        frames = [
            _frame(album, arrived, row.key, f"{row.outlier_score:.4g}", str(row.target_label))
            for row in worst.head(SHOWN // 2).itertuples()
        ]
        found.append(Sheet(title, frames, len(side)))
    return [sheet for sheet in found if sheet.frames]


def _frame(album: Album, arrived: Source, key: str, caption: str, detail: str = "") -> Frame:
    """Return one image: what was predicted, and where it came from."""
    source, name = arrived.get(key, ("", key))
    said = ", ".join(text for text in (detail, source) if text)
    return Frame(album.thumbnail(key), name, caption, said)
