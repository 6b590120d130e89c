"""Everything that the report page shows, as the templates read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from darkroom.report import (
    augmentation_preview,
    check_scores,
    label_distribution,
    leaks_and_conflicts,
    model_sections,
    thumbnails,
    worst_predictions,
)
from darkroom.report.counts import Flow, count_stages
from darkroom.report.image_store import ImageStore
from darkroom.report.params import ReportParams

COPIES = ("copy", "exact_duplicate", "leaks_into_")  # reasons of dedupe that mean a copy


@dataclass(frozen=True)
class Inputs:
    """What the stages before wrote: every table, the images, and the model's metrics and plots."""

    index: pd.DataFrame
    summary: pd.DataFrame
    pairs: pd.DataFrame
    groups: pd.DataFrame
    records: pd.DataFrame
    split: pd.DataFrame
    augmented: pd.DataFrame
    predictions: pd.DataFrame
    images: ImageStore
    augmented_images: ImageStore
    sources: Mapping[str, Any]  # sources.json
    metrics: Mapping[str, Any]  # metrics/<stage>.json by stage
    plots: Path  # metrics/plots


def describe(
    inputs: Inputs, kept: pd.DataFrame, profile: Mapping[str, Any], params: ReportParams
) -> dict[str, Any]:
    """Return what the page shows; `kept` are `label_distribution.kept_images`."""
    records = thumbnails.first_records(inputs.index)
    names = {key: name for key, (_, name) in records.items()}
    flow = count_stages(inputs.index, inputs.summary, inputs.groups, inputs.split, inputs.augmented)
    sources = describe_sources(inputs)
    rows = check_scores.select_images(inputs.summary, inputs.groups)
    page: dict[str, Any] = {
        "task": params.train.task,
        "headline": f"From {flow.files:,} files, {flow.kept:,} distinct, usable images.",
        "sources": sources,
        "simulated": any(source["kind"] == "sample" for source in sources),
        "flow": flow,
        "flags": count_flags(inputs.summary),
        "labels": label_distribution.describe(inputs.groups, kept, params),
        "min_class_images": params.dedupe.min_class_images,
        "profile": profile,
        "checks": check_scores.describe(inputs.images, rows, names, params.clean),
        "augmentation_preview": augmentation_preview.describe(inputs.images, rows, names, params),
        "training": model_sections.describe_training(inputs.plots, inputs.metrics),
        "worst_predictions": worst_predictions.describe(
            inputs.images, records, inputs.predictions, params.train.normal_class
        ),
        "settings": describe_settings(params),
        **describe_thumbnails(inputs, names, params),
        **model_sections.describe_test(inputs.plots, inputs.predictions, inputs.metrics, params),
    }
    return {**page, "key_numbers": describe_key_numbers(flow, page)}


def describe_sources(inputs: Inputs) -> list[dict[str, Any]]:
    """Return files, failed, withdrawn and kept records per source, in the order of scan."""
    sources = []
    for name in dict.fromkeys([*inputs.sources, *inputs.index["source"]]):
        rows = inputs.index[inputs.index["source"] == name]
        records = inputs.records[inputs.records["source"] == name]
        if len(rows):
            sources.append({
                "name": name, "kind": inputs.sources.get(name, {}).get("kind", "–"),
                "files": len(rows),
                "failed": int((rows["status"] == "failed").sum()),
                "withdrawn": int((rows["status"] == "withdrawn").sum()),
                "kept": int((records["status"] == "kept").sum()),
            })  # fmt: skip
    return sources


def count_flags(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how many usable images carry each flag that clean only informs about."""
    kept = summary[summary["status"] == "kept"]
    flags = sorted(name for name in summary if name.startswith("is_"))
    counts = {
        name.removeprefix("is_"): int(kept[name].fillna(False).astype(bool).sum()) for name in flags
    }
    return [{"name": n, "count": c, "of": len(kept)} for n, c in counts.items() if c]


def describe_thumbnails(
    inputs: Inputs, names: Mapping[str, str], params: ReportParams
) -> dict[str, Any]:
    """Return the sheets of thumbnails, and of how many images each shows a part."""
    store, groups = inputs.images, inputs.groups
    rejected = thumbnails.list_rejected(inputs.index, inputs.summary, groups, names)
    similarities = thumbnails.pair_similarities(inputs.pairs)
    return {
        "rejected": thumbnails.rejected_thumbnails(store, rejected),
        "rejected_total": len(rejected),
        "copies": thumbnails.duplicate_groups(store, groups, names, similarities),
        "groups_total": thumbnails.list_copies(groups)["representative"].nunique(),
        "augmented": thumbnails.augmented_images(
            store, inputs.augmented_images, inputs.augmented, names
        ),
        "augmented_total": len(inputs.augmented),
        "parents_total": inputs.augmented["parent"].nunique(),
        **leaks_and_conflicts.describe(
            store, inputs.index, inputs.records, groups, inputs.pairs, inputs.split, similarities,
            params,
        ),
    }  # fmt: skip


def describe_key_numbers(flow: Flow, page: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the few numbers that stand at the top."""
    removed = [pair for step in flow.steps for pair in step.removed]
    copies = sum(count for reason, count in removed if reason.startswith(COPIES))
    train, validation, test = (split.images for split in flow.splits)
    numbers = [
        (f"{page['rejected_total']:,}", "files or images failed or rejected, copies aside"),
        (f"{copies:,}", "copies recognised and set aside"),
        (f"{train:,} · {validation:,} · {test:,}", "images to train, validate and test on"),
    ]
    best = page["auc"] or next((m for m in page["metrics"] if m.value is not None), None)
    if best and best.value is not None and page["task"] != "none":
        numbers.append((f"{best.value:.3f}", f"{best.name} on the test split"))
    return [{"value": value, "name": name} for value, name in numbers]


def describe_settings(params: ReportParams) -> str:
    """Return the parameters as YAML, without download (private paths) and engine (no effect)."""
    values = params.model_dump(mode="json", exclude={"engine", "download"})
    text, writer = StringIO(), YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # typed as None
    writer.dump(values, text)
    return text.getvalue()
