"""The model card: what the model is, what it learnt from, what it is worth, and where it fails.

Sections follow Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993). Equal
inputs give equal bytes, so that no date is in it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from darkroom.core.params.clean import CleanParams
from darkroom.images.formats import EXTENSIONS
from darkroom.labels.labelled import is_labelled
from darkroom.report import metric_tables, metric_values
from darkroom.report.formatting import percent, plural, three_decimals, words
from darkroom.report.params import ReportParams

MAX_NAMES = 20  # classes that are listed by name
FEW_IMAGES = 20  # of the test split: one of them moves a share by 5 points or more

INPUT_RULES = {
    "crop": "never resized unless smaller; of a large image several squares, predictions averaged",
    "resize": "the short side resized to the square, the centre taken",
}


def describe(
    model: Mapping[str, Any],
    kept: pd.DataFrame,
    page: Mapping[str, Any],
    metrics: Mapping[str, Any],
    calibration: pd.DataFrame,
    params: ReportParams,
) -> dict[str, Any]:
    """Return what the card shows besides what is on the page; `model` is `model.json`."""
    tree, train = metrics.get("evaluate", {}), metrics.get("train", {})
    parameters = dict(model.get("parameters", {}))
    if "weights" in parameters:
        parameters["weights"] = _weights(model)
    return {
        "details": list(_details(model, train)) if model["task"] != "none" else [],
        "training_parameters": list(_flatten(parameters)),
        "labelled": kept[is_labelled(kept, params.train.task)]["split"].value_counts().to_dict(),
        "images": train.get("images", {}),
        "n_test": tree.get("n", 0),
        "n_validation": tree.get("n_validation", 0),
        "test_groups": tree.get("groups", 0),
        "reference_images": tree.get("reference_images_left_out", 0),
        "widest_gap": _widest_gap(calibration),
        "caveats": list(_caveats(page, tree, params)),
        "formats": ", ".join(EXTENSIONS),
        "rejected_by_clean": "; ".join(_rejections(params.clean)),
    }


def _details(model: Mapping[str, Any], train: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the model is, by name."""
    given = model.get("input", {})
    yield "task", _task(model)
    yield "network", _network(model)
    yield "weights before training", _weights(model)
    size, rule = given.get("size_px"), given.get("rule", "")
    yield "input", f"{given.get('channels')}, {size} × {size} px: {INPUT_RULES.get(rule, rule)}"
    filters = [str(step.get("filter")) for step in model.get("preprocess", [])]
    yield "filters before it", ", ".join(filters) or "none"
    if "parameters" in train:
        yield "parameters of the network", f"{train['parameters']:,}"
    yield "digest of the training data", f"sha256 {model.get('training_data')}"
    yield "seed", str(model.get("seed"))
    yield "licence", "unknown: none was stated, for the model or for its images"


def _task(model: Mapping[str, Any]) -> str:
    """Return what the model predicts, in words."""
    names = [str(name) for name in model.get("classes", [])]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    scale = model.get("scale") or {}
    if model["task"] == "rating":
        scores = f"{scale.get('bins')} scores from {scale.get('low'):g} to {scale.get('high'):g}"
        return f"rating: how votes spread over {scores}, and their mean"
    if model["task"] == "one_class":
        normal, method = model.get("normal_class"), words(model.get("outlier_method"))
        return f"one class: how far an image is from those of {normal} ({method})"
    return f"classification: the probability of each class: {', '.join(names[:MAX_NAMES])}{more}"


def _network(model: Mapping[str, Any]) -> str:
    settings = model.get("parameters", {})
    if model.get("outlier_method") == "autoencoder":  # whatever `train.backbone` says
        return "autoencoder"
    width = settings.get("alpha")
    return f"{settings.get('backbone')}{f', width {width:g}' if width else ''}"


def _weights(model: Mapping[str, Any]) -> str:
    """Return where weights came from; of a path the file's name alone, as folders are private."""
    weights, network = model.get("parameters", {}).get("weights"), _network(model)
    if network == "bundled":
        return "those of the copy-detection network that comes with Darkroom"
    if weights is None or network == "autoencoder":
        return "none: trained from nothing"
    return Path(weights).name


def _flatten(parameters: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield one row per parameter: its path and its value as text."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{path}{name}.")
        elif isinstance(value, str):
            yield f"{path}{name}", value
        elif value in (None, []):
            yield f"{path}{name}", "none"
        else:
            yield f"{path}{name}", json.dumps(value, ensure_ascii=False)


def _widest_gap(calibration: pd.DataFrame) -> str:
    """Return the bin in which predictions and truth lie furthest apart, in words."""
    if not {"predicted", "observed", "n"} <= set(calibration.columns) or calibration.empty:
        return ""
    row = calibration.loc[(calibration["observed"] - calibration["predicted"]).abs().idxmax()]
    predicted, observed = three_decimals(row["predicted"]), three_decimals(row["observed"])
    whose = f" for {row['class']}" if calibration["class"].nunique() > 1 else ""
    images = plural(int(row["n"]), "image")
    return f"predicted {predicted}, observed {observed}{whose}, on {images}"


def _caveats(
    page: Mapping[str, Any], tree: Mapping[str, Any], params: ReportParams
) -> Iterator[str]:
    """Yield what to beware of, as far as the metrics show it."""
    if tree.get("interval_reliable") is False:
        yield (
            f"The test images come from {plural(tree.get('groups', 0), 'group')}. With fewer than"
            " 20 the intervals are unreliable, most often too narrow, and another split could say"
            " something else."
        )
    others = [note for note in page["notes"] if not note.startswith("interval unreliable")]
    yield from (f"{note[:1].upper()}{note[1:]}." for note in others)
    bare = [m.name for m in page["metrics"] if m.value is not None and m.low is None]
    if bare:
        yield f"Without an interval: {', '.join(bare)}."
    undefined = [m.name for m in page["metrics"] if m.value is None]
    if undefined:
        yield f"Not defined on this test split: {', '.join(undefined)}."
    ranges = metric_tables.ordered_ranges(tree)
    named = [(metric_tables.range_name(low, high), metrics) for low, high, metrics in ranges]
    yield from _part_caveats(named, max, {"rmse": "RMSE", "bias": "bias"},
                             "Ratings are furthest off where the true mean is",
                             "with a true mean of")  # fmt: skip
    classes = [(metric_values.class_name(key), t) for key, t in tree.get("classes", {}).items()]
    yield from _part_caveats(classes, min, {"f1": "F1", "sensitivity": "sensitivity"},
                             "The class found worst is", "of class")  # fmt: skip
    in_test, in_use = page["test_prevalence"], params.evaluate.prevalence
    if tree.get("operating_points") and in_test is not None:
        elsewhere = (
            "set evaluate.prevalence to the share where the model is used" if in_use is None
            else f"for {percent(in_use)} they stand in columns of their own"
        )  # fmt: skip
        yield (
            f"PPV and NPV hold where {100 * in_test:.1f} % of the images are positive, as in the"
            f" test split; {elsewhere}."
        )


def _part_caveats(
    parts: Sequence[tuple[str, Mapping[str, Any]]], worst_of: Callable[..., Any],
    metrics: Mapping[str, str], sentence: str, what: str,
) -> Iterator[str]:  # fmt: skip
    """Yield which part is predicted worst, by the first of `metrics`, and which are small."""
    first = next(iter(metrics))
    known = [part for part in parts if metric_values.value_of(part[1], first) is not None]
    if known:
        name, worst = worst_of(known, key=lambda part: metric_values.value_of(part[1], first))
        values = {title: metric_values.value_of(worst, key) for key, title in metrics.items()}
        measured = ", ".join(f"{title} {three_decimals(value)}" for title, value in values.items())
        yield f"{sentence} {name}: {measured}, on {plural(worst.get('n', 0), 'image')}."
    few = [f"{name} ({t['n']})" for name, t in parts if t.get("n", FEW_IMAGES) < FEW_IMAGES]
    if few:
        more = f" and {len(few) - MAX_NAMES} more" if len(few) > MAX_NAMES else ""
        yield f"Fewer than {FEW_IMAGES} test images {what} {', '.join(few[:MAX_NAMES])}{more}."


def _rejections(clean: CleanParams) -> Iterator[str]:
    """Yield what no image that the model learnt from is."""
    limits = {
        "too_small": f" (a side below {clean.min_side_px:,} px)",
        "too_elongated": f" (one side more than {clean.max_aspect_ratio:g} times the other)",
    }
    yield f"more than {clean.max_pixels:,} pixels"
    yield from (f"{words(issue)}{limits.get(issue, '')}" for issue in clean.reject)
