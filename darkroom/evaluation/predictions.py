"""The prediction table, one row per labelled image of validation and test, and its metrics."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from darkroom.core.errors import UserError
from darkroom.core.files import MetricTree
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.core.params.scale import Scale
from darkroom.core.progress import Progress
from darkroom.core.shards import stored
from darkroom.core.tables import INDEX, read_table
from darkroom.evaluation.classification import choose_positive, evaluate_classes
from darkroom.evaluation.metrics import Settings
from darkroom.evaluation.one_class import evaluate_one_class
from darkroom.evaluation.rating import evaluate_ratings
from darkroom.evaluation.statistic import Reals
from darkroom.images.decode import DecodeError, Pixels
from darkroom.labels.votes import bin_scores, mean_of_votes
from darkroom.models.inputs import prefetch
from darkroom.models.saved import SavedModel
from darkroom.models.stored_images import StoredImages
from darkroom.models.targets import from_ratings

Outputs = NDArray[np.float32]  # (n, bins or classes), rows sum to 1

KEYS = ["key", "split", "split_group"]
SUM_TOLERANCE = 1e-3  # of float32 probabilities
TEXT_COLUMNS = {*KEYS, "target_label", "predicted_label"}


def check_classes(rows: pd.DataFrame, model: SavedModel) -> None:
    """Raise UserError where no row is of a class that the model knows."""
    if model.classes and len(rows) and not rows["label"].isin(model.classes).any():
        raise UserError(
            f"data/model knows the classes {', '.join(model.classes)}, but the images of validation"
            f" and test are of {', '.join(sorted(rows['label'].unique())[:10])}: run"
            " `dvc repro train`, which learns the classes of your labels"
        )


def read_images(
    folder: Path, keys: list[str], model: SavedModel, failed: dict[str, str]
) -> Iterator[Pixels]:
    """Yield the pixels of each key in turn, a few of them decoded ahead on all cores.

    One that does not decode is left out; `failed` then has the reason.
    """
    rows = stored(read_table(folder / "index.parquet", INDEX)).set_index("key").loc[keys]
    images = StoredImages(
        folder,
        rows.assign(folder="."),
        min_side=model.min_side,
        max_pixels=model.max_pixels,
        grey_range=model.grey_range,
    )

    def read(position: int) -> Pixels | DecodeError:
        try:
            pixels: Pixels = images[position]
            return pixels
        except DecodeError as error:
            return error

    progress = Progress("evaluate", len(keys))
    for key, pixels in zip(keys, prefetch(read, range(len(keys))), strict=True):
        progress.advance(1)
        if isinstance(pixels, DecodeError):
            failed[key] = pixels.reason
        else:
            yield pixels
    progress.close(len(keys) - len(failed), {}, Counter(failed.values()))


def predict(
    model: SavedModel, rows: pd.DataFrame, images: Iterable[Pixels], failed: Collection[str] = ()
) -> pd.DataFrame:
    """Return the predictions for rows of labels and their images, by the model's task.

    Rows that are in `failed` when all images are read have none.
    """
    outputs = model.predict(images)
    rows = rows[~rows["key"].isin(failed)]
    check_outputs(outputs, model)
    if model.scale is not None:
        return rating_predictions(rows, outputs, model.scale)
    if model.normal_class is not None:
        table = {"target_label": rows["label"], "outlier_score": outputs.reshape(-1)}
        return pd.concat([rows[KEYS], pd.DataFrame(table, rows.index)], axis=1)
    return class_predictions(rows, outputs, model.classes)


def check_outputs(outputs: NDArray[Any], model: SavedModel) -> None:
    """Raise UserError for outputs (n, …) that are no numbers, or no distributions where due."""
    broken = ~np.isfinite(outputs).all(axis=1)
    if model.task != "one_class":
        with np.errstate(invalid="ignore"):
            broken |= (outputs < -SUM_TOLERANCE).any(axis=1) | (
                np.abs(outputs.sum(axis=1) - 1) > SUM_TOLERANCE
            )
    if broken.any():
        wanted = "a finite score" if model.task == "one_class" else "probabilities that sum to 1"
        raise UserError(
            f"data/model: expected {wanted} per image, got {outputs[broken][0][:4]} … for"
            f" {int(broken.sum())} of {len(outputs)} images; the model is broken: run `dvc repro"
            " train`, with a lower train.learning_rate if that repeats"
        )


def rating_predictions(rows: pd.DataFrame, outputs: Outputs, scale: Scale) -> pd.DataFrame:
    """Return one prediction row per image; `outputs` (n, bins) are histograms that sum to 1.

    Target bins, their mean and standard deviation come from counted votes; where a mean alone is
    known the target bins are null, and the standard deviation too unless it was given.
    """
    scores, predicted = bin_scores(scale), outputs.astype(np.float64)  # (bins,), (n, bins)
    target = np.full(predicted.shape, np.nan)
    counted = rows["ratings"].notna().to_numpy(bool)
    from_ratings(list(rows["ratings"][counted]), scale)  # raises UserError for invalid votes
    votes = np.array(list(rows["ratings"][counted]), np.float64).reshape(-1, scale.bins)
    target[counted] = votes / votes.sum(axis=1, keepdims=True)
    means, stds = (rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("mean", "std"))
    predicted_mean = predicted @ scores
    voted_mean = np.full(len(rows), np.nan)
    voted_mean[counted] = mean_of_votes(votes, scores)
    table = {
        "target_mean": np.where(counted, voted_mean, means),
        "predicted_mean": predicted_mean,
        "target_std": np.where(counted, _std(target, voted_mean, scores), stds),
        "predicted_std": _std(predicted, predicted_mean, scores),
    }
    for name, bins in (("bin", predicted), ("target_bin", target)):
        table |= {f"{name}_{k}": bins[:, k - 1] for k in range(1, scale.bins + 1)}
    return pd.concat([rows[KEYS], pd.DataFrame(table, rows.index)], axis=1)


def _std(histograms: Reals, means: Reals, scores: Reals) -> Reals:
    """Return the standard deviation (n,) of histograms (n, bins) around their means (n,)."""
    return np.asarray(np.sqrt((histograms * (scores - means[:, None]) ** 2).sum(axis=1)))


def class_predictions(
    rows: pd.DataFrame, outputs: Outputs, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Return one prediction row per image; `outputs` (n, classes) are probabilities."""
    names = np.array(classes, dtype=object)
    table = {"target_label": rows["label"], "predicted_label": names[outputs.argmax(axis=1)]}
    for position, name in enumerate(classes):
        table[f"probability_{name}"] = outputs[:, position].astype(np.float64)
    return pd.concat([rows[KEYS], pd.DataFrame(table, rows.index)], axis=1)


def schema_of(predictions: pd.DataFrame) -> pa.Schema:
    """Return the schema of a prediction table: keys and labels are text, the rest float64."""
    names = predictions.columns
    return pa.schema(
        [(name, pa.string() if name in TEXT_COLUMNS else pa.float64()) for name in names]
    )


def evaluate_predictions(
    predictions: pd.DataFrame, model: SavedModel, params: EvaluateParams, seed: int
) -> MetricTree:
    """Return every metric of the test split; operating points are chosen on validation."""
    settings = Settings.of(params, seed)
    test, validation = (predictions[predictions["split"] == s] for s in ("test", "validation"))
    if model.scale is not None:
        return evaluate_ratings(test, validation, model.scale, settings)
    if model.normal_class is not None:
        return evaluate_one_class(test, validation, model.normal_class, settings)
    positive = choose_positive(model.classes, params.positive_class)
    return evaluate_classes(test, validation, model.classes, positive, settings)
