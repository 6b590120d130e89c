"""Predictions of a saved model for image files: found, decoded, shown as lines and as CSV."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from darkroom.core.csv import escape, rows_to_csv
from darkroom.core.errors import UserError, visible
from darkroom.filters.preprocess import check_size
from darkroom.images.decode import DecodeError, Pixels, decode
from darkroom.images.find_files import find_image_files
from darkroom.labels.votes import bin_scores
from darkroom.models.inputs import prefetch
from darkroom.models.saved import SavedModel

PATHS_AT_ONCE = 1024  # are predicted, then shown: memory does not grow with their number
OUTLIER = "outlier_score"


class Prediction(NamedTuple):
    """What the model says about one file, by name of column; or why it could not be read."""

    name: str
    values: dict[str, float | str]
    error: str = ""


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and every image file below the given folders, in order of name."""
    images: list[Path] = []
    for path in paths:
        if path.is_dir():
            images += find_image_files(path)
        elif path.exists():
            images.append(path)
        else:
            raise UserError(f"{path} does not exist: give image files or folders of them")
    if not images:
        raise UserError(f"no image files in {', '.join(map(str, paths))}")
    return images


def predict_files(model: SavedModel, paths: Sequence[Path]) -> Iterator[Prediction]:
    """Yield one prediction per path, in the same order; images are decoded ahead on all cores."""
    for start in range(0, len(paths), PATHS_AT_ONCE):
        yield from _predict(model, paths[start : start + PATHS_AT_ONCE])


def _predict(model: SavedModel, paths: Sequence[Path]) -> Iterator[Prediction]:
    errors: dict[Path, str] = {}

    def readable() -> Iterator[Pixels]:
        for path, read in zip(paths, prefetch(lambda path: _read(model, path), paths), strict=True):
            if isinstance(read, str):
                errors[path] = read
            else:
                yield read

    shares = iter(model.predict(readable()))
    for path in paths:
        # A name may be of bytes that no text can hold.
        name = os.fsencode(path).decode(errors="backslashreplace")
        if path in errors:
            yield Prediction(name, {}, errors[path])
        else:
            yield Prediction(name, describe(model, next(shares)))


def _read(model: SavedModel, path: Path) -> Pixels | str:
    """Return the pixels of a file, or why it has none."""
    try:
        pixels = decode(path.read_bytes(), model.max_pixels, model.min_side, model.grey_range)
        check_size(pixels, model.preprocess)
    except (DecodeError, OSError, UserError) as error:
        return str(error)
    return pixels


def describe(model: SavedModel, shares: NDArray[Any]) -> dict[str, float | str]:
    """Return the columns of one prediction: shares (bins or classes,), which sum to 1.

    Of a model of one class it is the outlier score (1,) instead.
    """
    if model.scorer:
        score = float(shares[0])
        return {OUTLIER: score, "normal_scoring_lower": model.scorer.share_below(score)}
    if model.scale is None:
        named = zip(model.classes, map(float, shares), strict=True)
        likeliest = model.classes[int(shares.argmax())]
        return {"class": likeliest, **{f"probability_{name}": share for name, share in named}}
    scores = bin_scores(model.scale)
    mean = float(shares @ scores)
    std = float(np.sqrt(max(0.0, float(shares @ (scores - mean) ** 2))))
    bins = {f"share_{score:g}": float(s) for score, s in zip(scores, shares, strict=True)}
    return {"mean": mean, "std": std, **bins}


def as_line(prediction: Prediction) -> str:
    """Return one line for a person."""
    if prediction.error:
        return visible(f"{prediction.name}: not predicted, {prediction.error}")
    cells = (f"{name} {_shown(name, value)}" for name, value in prediction.values.items())
    return visible(f"{prediction.name}: {', '.join(cells)}")


def _shown(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if name == OUTLIER else f"{value:.3f}"  # an outlier score has any size


def as_csv(predictions: Sequence[Prediction]) -> str:
    """Return a table with one row per file; a failed one has empty cells and its error."""
    columns = next((list(p.values) for p in predictions if not p.error), [])
    rows = (
        [escape(p.name), *(_cell(c, p.values.get(c, "")) for c in columns), escape(p.error)]
        for p in predictions
    )
    return rows_to_csv(["name", *columns, "error"], rows)


def _cell(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return str(escape(value))
    return f"{value:.9g}" if name == OUTLIER else f"{value:.6f}"  # as in `_shown`
