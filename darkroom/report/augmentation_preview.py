"""Every operation of augmentation and every filter at three strengths, on an image of the user's.

So that limits in params.yaml can be chosen by eye. Operations are shown at a third, two thirds and
all of the limit that augment has for them (its default where it does not use them).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from darkroom.augmentation.chains import LABEL_TRUE, allowed_operations, apply
from darkroom.augmentation.operations import OPERATIONS
from darkroom.filters.filter_bank import compress
from darkroom.filters.preprocess import FILTERS, kernel_px, preprocess, read_steps
from darkroom.images.decode import DecodeError, Pixels, decode_at_least
from darkroom.report.params import ReportParams
from darkroom.report.thumbnails import Album, data_uri, thumbnail

SIDE_PX, QUALITY = 112, 75  # about 4 KB each
SHARES = (1 / 3, 2 / 3, 1.0)
TRIED = 50  # images among which the one to show is chosen
# Filters at three values of the setting that tells most; the others as by default.
STRENGTHS: Mapping[str, tuple[str, tuple[float, float, float]]] = {
    "mean": ("size_px", (3, 5, 9)),
    "gaussian": ("sigma_px", (0.7, 1.5, 3.0)),
    "median": ("size_px", (3, 5, 9)),
    "conservative": ("size_px", (3, 5, 9)),
    "laplacian": ("gain", (1.0, 3.0, 6.0)),
    "laplacian_of_gaussian": ("sigma_px", (0.7, 1.5, 3.0)),
    "unsharp": ("amount", (0.5, 1.5, 4.0)),
    "ideal_low_pass": ("cutoff", (0.25, 0.1, 0.04)),
    "ideal_high_pass": ("cutoff", (0.02, 0.05, 0.15)),
    "butterworth_low_pass": ("cutoff", (0.25, 0.1, 0.04)),
    "butterworth_high_pass": ("cutoff", (0.02, 0.05, 0.15)),
    "crimmins": ("iterations", (1, 4, 12)),
    "ising": ("coupling", (0.0, 0.5, 1.5)),
    "principal_components": ("components", (32, 12, 4)),
}


class Sample(NamedTuple):
    """One result, and the value that made it."""

    picture: str  # a data: URI
    caption: str


class Strip(NamedTuple):
    """One operation or filter: its results at three strengths, and what is to be known of it."""

    name: str
    note: str
    samples: tuple[Sample, ...]


class Strengths(NamedTuple):
    """The original, and what operations and filters make of it."""

    original: str  # a data: URI
    name: str
    operations: tuple[Strip, ...]
    filters: tuple[Strip, ...]


def describe(
    album: Album, rows: pd.DataFrame, names: Mapping[str, str], params: ReportParams
) -> Strengths | None:
    """Return the strips; None when no image can be shown. `rows` are of clean's summary, whole."""
    found = choose(album, rows)
    if found is None:
        return None
    key, pixels = found
    return Strengths(
        _picture(pixels), names.get(key, key), tuple(operations(pixels, params)),
        tuple(filters_of(pixels)),
    )  # fmt: skip


def choose(album: Album, rows: pd.DataFrame) -> tuple[str, Pixels] | None:
    """Return the key and the pixels, reduced, of an ordinary image: neither flat nor noisy.

    That is the one of middling information, among those with colours if there are any.
    """
    kept = rows[rows["status"] == "kept"].sort_values("key").head(TRIED)
    nothing = pd.Series(0.0, kept.index)
    coloured = kept.get("colourless_score", nothing).astype(float) > 0.5
    kept = kept[coloured] if coloured.any() else kept
    scores = kept.get("low_information_score", nothing).astype(float).fillna(0.0)
    for key in kept["key"].loc[(scores - scores.median()).abs().sort_values(kind="stable").index]:
        content = album.content(key)
        try:
            if content is not None:
                return key, thumbnail(decode_at_least(content, SIDE_PX), SIDE_PX)
        except DecodeError:
            continue
    return None


def operations(pixels: Pixels, params: ReportParams) -> list[Strip]:
    """Return a strip per operation of augmentation."""
    task, wanted, fill = params.train.task, params.augment.operations, params.augment.fill
    used = dict(allowed_operations(task, wanted)) if params.augment.target else {}
    strips = []
    for name, operation in OPERATIONS.items():
        limit = used.get(name, operation.limit.default if operation.limit else 0.0)
        samples = []
        for share in SHARES if operation.limit else SHARES[-1:]:
            values = operation.values.at(share, limit, pixels.shape[:2], fill)
            picture = _picture(apply(pixels, [{"name": name, **values}]))
            samples.append(Sample(picture, _caption(values)))
        untrue = task != "none" and name not in LABEL_TRUE[task]
        note = "in use" if name in used else f"not true to a {task}" if untrue else ""
        strips.append(Strip(name, note, tuple(samples)))
    return strips


def filters_of(pixels: Pixels) -> list[Strip]:
    """Return a strip per filter of the bank."""
    strips = []
    least = min(pixels.shape[:2])
    for name in FILTERS:
        setting, values = STRENGTHS[name]
        samples = []
        for value in values:
            chain = read_steps([{"filter": name, setting: value}], "strengths")
            if kernel_px(chain[0]) > least:
                continue
            caption = f"{setting.replace('_', ' ')} {value:g}"
            if name == "principal_components":
                caption += f", {_explained(pixels, int(value)):.1%}"
            samples.append(Sample(_picture(preprocess(pixels, chain)), caption))
        strips.append(Strip(name, "", tuple(samples)))
    return strips


def _explained(pixels: Pixels, components: int) -> float:
    """Return the share of variance that the components explain, mean over the channels."""
    return float(np.mean([compress(pixels[:, :, i], components)[1] for i in range(3)]))


def _caption(values: Mapping[str, Any]) -> str:
    """Return what a person would read of the values that made a picture."""
    shown = {k: v for k, v in values.items() if k not in {"fill", "seed"} and v != 0}
    if not shown:
        return "as it is" if values else ""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in shown.items())


def _picture(pixels: Pixels) -> str:
    return data_uri(pixels, QUALITY)
