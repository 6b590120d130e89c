"""The test images that the model gets most wrong, as thumbnails.

Classification: the lowest probability of the true class, per kind of confusion. Rating: the largest
error in either direction. One class: outliers with the lowest score, normal images with the
highest. How many are shown is fixed; ties are broken by key.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from darkroom.report.image_store import ImageStore
from darkroom.report.thumbnails import Thumbnail

MAX_IMAGES = 24  # in all: at about 5 KB each they are a small part of the page
MAX_CONFUSIONS = 6  # the most frequent first

Records = Mapping[str, tuple[str, str]]  # key -> source and name


class WorstPredictions(NamedTuple):
    """One kind of error: what it is, the worst images, and how many there are."""

    title: str
    thumbnails: list[Thumbnail]
    total: int


def describe(
    store: ImageStore, records: Records, predictions: pd.DataFrame, normal_class: str | None
) -> list[WorstPredictions]:
    """Return the worst of whatever was predicted on the test split; none without predictions."""
    if "split" not in predictions:
        return []
    test = predictions[predictions["split"] == "test"].sort_values("key", ignore_index=True)
    columns = set(test.columns)
    worst: Iterable[WorstPredictions] = ()
    if {"target_mean", "predicted_mean"} <= columns:
        worst = _ratings(store, test, records)
    elif {"target_label", "outlier_score"} <= columns:
        worst = _outliers(store, test, records, normal_class)
    elif {"target_label", "predicted_label"} <= columns:
        worst = _confusions(store, test, records)
    return [kind for kind in worst if kind.thumbnails]


def _confusions(
    store: ImageStore, test: pd.DataFrame, records: Records
) -> Iterator[WorstPredictions]:
    """Yield the worst of each confusion of two classes, the most frequent first."""
    rows = test.dropna(subset=["target_label", "predicted_label"])
    wrong = rows[rows["target_label"] != rows["predicted_label"]]
    wrong = wrong.assign(probability=[*map(_true_class_probability, wrong.to_dict("records"))])
    sizes = wrong.groupby(["target_label", "predicted_label"]).size()
    kinds = sorted(sizes.index, key=lambda kind: (-int(sizes[kind]), kind))[:MAX_CONFUSIONS]
    for target, predicted in kinds:
        same = (wrong["target_label"] == target) & (wrong["predicted_label"] == predicted)
        worst = wrong[same].sort_values(["probability", "key"]).head(MAX_IMAGES // len(kinds))
        thumbnails = [
            _thumbnail(store, records, row.key, f"{row.probability:.3f}")
            for row in worst.itertuples()
        ]
        title = f"{target}, predicted as {predicted}"
        yield WorstPredictions(title, thumbnails, int(same.sum()))


def _true_class_probability(row: Mapping[str, object]) -> float:
    """Return the probability of the true class: none for a class that the model does not know."""
    probability = row.get(f"probability_{row['target_label']}")
    return float(probability) if isinstance(probability, int | float) else 0.0


def _ratings(store: ImageStore, test: pd.DataFrame, records: Records) -> Iterator[WorstPredictions]:
    """Yield those predicted furthest above their target, and those furthest below."""
    rows = test.dropna(subset=["target_mean", "predicted_mean"])
    rows = rows.assign(error=rows["predicted_mean"] - rows["target_mean"])
    for title, sign in (("Predicted too high", 1), ("Predicted too low", -1)):
        side = rows[rows["error"] * sign > 0]
        worst = side.assign(size=-side["error"].abs()).sort_values(["size", "key"])
        thumbnails = [
            _thumbnail(store, records, row.key, f"{row.target_mean:.2f} → {row.predicted_mean:.2f}",
                       f"{row.error:+.2f}".replace("-", "−"))
            for row in worst.head(MAX_IMAGES // 2).itertuples()
        ]  # fmt: skip
        yield WorstPredictions(title, thumbnails, len(side))


def _outliers(
    store: ImageStore, test: pd.DataFrame, records: Records, normal_class: str | None
) -> Iterator[WorstPredictions]:
    """Yield the outliers that look most normal, and the normal images that look least so."""
    rows = test.dropna(subset="outlier_score")
    normal = rows["target_label"] == normal_class
    for title, side, rising in (
        ("Outliers with the lowest scores", rows[~normal], True),
        ("Normal images with the highest scores", rows[normal], False),
    ):
        worst = side.sort_values(["outlier_score", "key"], ascending=[rising, True])
        thumbnails = [
            _thumbnail(store, records, row.key, f"{row.outlier_score:.4g}", str(row.target_label))
            for row in worst.head(MAX_IMAGES // 2).itertuples()
        ]
        yield WorstPredictions(title, thumbnails, len(side))


def _thumbnail(
    store: ImageStore, records: Records, key: str, caption: str, detail: str = ""
) -> Thumbnail:
    """Return one image: what was predicted, and where it came from."""
    source, name = records.get(key, ("", key))
    details = ", ".join(text for text in (detail, source) if text)
    return Thumbnail(store.thumbnail(key), name, caption, details)
