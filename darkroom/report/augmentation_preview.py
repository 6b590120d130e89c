"""Every operation of augmentation and every filter at three settings, on an image of the user's.

So that limits in params.yaml can be chosen by eye. Operations are shown at a third, two thirds and
all of the limit that augment has for them (its default where it does not use them).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from darkroom.augmentation.chains import LABEL_PRESERVING, allowed_operations, apply
from darkroom.augmentation.operations import OPERATIONS
from darkroom.filters.filter_bank import compress
from darkroom.filters.preprocess import FILTERS, kernel_px, preprocess, read_steps
from darkroom.images.colours import Pixels
from darkroom.images.resize import shrink
from darkroom.report.formatting import words
from darkroom.report.image_store import ImageStore, data_uri
from darkroom.report.params import ReportParams

SIDE_PX, QUALITY = 112, 75  # about 4 KB each
LIMIT_FRACTIONS = (1 / 3, 2 / 3, 1.0)
MAX_CANDIDATES = 50  # images among which the one to show is chosen
# Filters at three values of the setting that changes most; the others as by default.
FILTER_SETTINGS: Mapping[str, tuple[str, tuple[float, float, float]]] = {
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


class PreviewRow(NamedTuple):
    """One operation or filter: its results at three settings, and whether augment uses it."""

    name: str
    note: str
    previews: list[tuple[str, str]]  # a data: URI, and the values that made it


def describe(
    store: ImageStore, rows: pd.DataFrame, names: Mapping[str, str], params: ReportParams
) -> dict[str, Any] | None:
    """Return the preview on one of `rows` of clean's summary; None when none can be shown."""
    chosen = choose_image(store, rows)
    if chosen is None:
        return None
    key, pixels = chosen
    return {
        "original": data_uri(pixels, QUALITY),
        "name": names.get(key, key),
        "operations": preview_operations(pixels, params),
        "filters": preview_filters(pixels),
    }


def choose_image(store: ImageStore, rows: pd.DataFrame) -> tuple[str, Pixels] | None:
    """Return the key and the pixels, reduced, of an ordinary image: neither flat nor noisy.

    That is the one of middling information, among those with colours if there are any.
    """
    kept = rows[rows["status"] == "kept"].sort_values("key").head(MAX_CANDIDATES)
    unmeasured = pd.Series(0.0, kept.index)
    coloured = kept.get("colourless_score", unmeasured).astype(float) > 0.5
    kept = kept[coloured] if coloured.any() else kept
    scores = kept.get("low_information_score", unmeasured).astype(float).fillna(0.0)
    for key in kept["key"].loc[(scores - scores.median()).abs().sort_values(kind="stable").index]:
        pixels = store.pixels(key)
        if pixels is not None:
            return key, shrink(pixels, SIDE_PX)
    return None


def preview_operations(pixels: Pixels, params: ReportParams) -> list[PreviewRow]:
    """Return a row per operation of augmentation."""
    task, wanted, fill = params.train.task, params.augment.operations, params.augment.fill
    used = dict(allowed_operations(task, wanted)) if params.augment.target else {}
    rows = []
    for name, operation in OPERATIONS.items():
        limit = used.get(name, operation.limit.default if operation.limit else 0.0)
        previews = []
        for share in LIMIT_FRACTIONS if operation.limit else LIMIT_FRACTIONS[-1:]:
            values = operation.values.at(share, limit, pixels.shape[:2], fill)
            changed = apply(pixels, [{"name": name, **values}])
            previews.append((data_uri(changed, QUALITY), _caption(values)))
        changes_label = task != "none" and name not in LABEL_PRESERVING[task]
        note = "in use" if name in used else f"not true to a {task}" if changes_label else ""
        rows.append(PreviewRow(name, note, previews))
    return rows


def preview_filters(pixels: Pixels) -> list[PreviewRow]:
    """Return a row per filter of the bank."""
    rows = []
    shortest_side = min(pixels.shape[:2])
    for name in FILTERS:
        setting, values = FILTER_SETTINGS[name]
        previews = []
        for value in values:
            steps = read_steps([{"filter": name, setting: value}], "augmentation preview")
            if kernel_px(steps[0]) > shortest_side:
                continue
            caption = f"{words(setting)} {value:g}"
            if name == "principal_components":
                filtered, explained = _compress_channels(pixels, int(value))
                caption += f", {explained:.1%}"
            else:
                filtered = preprocess(pixels, steps)
            previews.append((data_uri(filtered, QUALITY), caption))
        rows.append(PreviewRow(name, "", previews))
    return rows


def _compress_channels(pixels: Pixels, components: int) -> tuple[Pixels, float]:
    """Return what `preprocess` does, and the mean share of variance that the components explain.

    One thread: of planes this small, several wait for each other longer than they work.
    """
    with threadpool_limits(1):
        planes = [compress(np.ascontiguousarray(pixels[:, :, i]), components) for i in range(3)]
    return np.stack([plane for plane, _ in planes], 2), float(np.mean([s for _, s in planes]))


def _caption(values: Mapping[str, Any]) -> str:
    """Return what a person would read of the values that made a picture."""
    shown = {k: v for k, v in values.items() if k not in {"fill", "seed"} and v != 0}
    if not shown:
        return "as it is" if values else ""
    return ", ".join(f"{words(name)} {value:.3g}" for name, value in shown.items())
