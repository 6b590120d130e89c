"""Write one self-contained page on the data set and the model, its plots' data, and a model card.

Leaves `metrics/report.html`, `metrics/model_card.md` (Markdown, for git and whoever is given the
model) and `metrics/plots/report/*.csv`, which `dvc plots diff` compares.

Reads every table in data/, the metrics and plots of the other stages, and the shards for a few
thumbnails. The page loads nothing from anywhere (styles, charts and pictures are inside it, and a
content security policy forbids the rest), has no script, and is equal byte for byte when its inputs
are. Names and labels come from the user's files, so that Jinja escapes every one of them. Charts
are drawn from the tables that the stages wrote; the pixels of at most 1,000 images are looked at
again, for tones and mean images. Sheets show a fixed number of images, chosen the same way every
time, so that the page stays below 3 MB.

Run alone with `python -m stages.report`.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from darkroom.core.csv import to_csv
from darkroom.core.files import write_text
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.core.tables import AUGMENTED, GROUPS, INDEX, PAIRS, RECORDS, SPLIT, read_table
from darkroom.report import (
    augmentation_preview,
    check_scores,
    label_distribution,
    leaks_and_conflicts,
    metric_tables,
    metric_values,
    model_card,
    model_sections,
    profile,
    thumbnails,
    worst_predictions,
)
from darkroom.report.counts import Flow, trace
from darkroom.report.params import ReportParams

SOURCES = Path("data/sources.json")
RAW, NEW = Path("data/raw"), Path("data/augmented")
SUMMARY = Path("data/clean/summary.parquet")
DEDUPE = Path("data/dedupe")
SPLITS = Path("data/split.parquet")
PREDICTIONS = Path("data/predictions.parquet")
METRICS, PLOTS = Path("metrics"), Path("metrics/plots")
MODEL = Path("data/model/model.json")
TARGET = Path("metrics/report.html")
CARD = Path("metrics/model_card.md")

COPIES = ("copy", "exact_duplicate", "leaks_into_")  # reasons of dedupe that mean a copy
TEMPLATES = Path(augmentation_preview.__file__).with_name("templates")


class Tables:
    """Every table that the page is made from."""

    def __init__(self, root: Path) -> None:
        """Read them all; their size in memory grows with the number of records."""
        self.index = read_table(root / RAW / "index.parquet", INDEX)
        self.summary = read_table(root / SUMMARY)
        self.pairs = read_table(root / DEDUPE / "pairs.parquet", PAIRS)
        self.groups = read_table(root / DEDUPE / "groups.parquet", GROUPS)
        self.records = read_table(root / DEDUPE / "records.parquet", RECORDS)
        self.split = read_table(root / SPLITS, SPLIT)
        self.augmented = read_table(root / NEW / "index.parquet", AUGMENTED)
        self.predictions = read_table(root / PREDICTIONS)


def describe_sources(tables: Tables, kinds: dict[str, Any]) -> list[dict[str, Any]]:
    """Return files, failed, withdrawn and kept records per source, in the order of scan."""
    found = []
    present = list(dict.fromkeys([*kinds, *tables.index["source"]]))
    for name in present:
        rows = tables.index[tables.index["source"] == name]
        ends = tables.records[tables.records["source"] == name]
        if len(rows):
            found.append({
                "name": name, "kind": kinds.get(name, {}).get("kind", "–"), "files": len(rows),
                "failed": int((rows["status"] == "failed").sum()),
                "withdrawn": int((rows["status"] == "withdrawn").sum()),
                "kept": int((ends["status"] == "kept").sum()),
            })  # fmt: skip
    return found


def describe_flags(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how many usable images carry each flag that clean only informs about."""
    kept = summary[summary["status"] == "kept"]
    flags = sorted(name for name in summary if name.startswith("is_"))
    counts = {
        name.removeprefix("is_"): int(kept[name].fillna(False).astype(bool).sum()) for name in flags
    }
    return [{"name": n, "count": c, "of": len(kept)} for n, c in counts.items() if c]


def describe_sheets(
    root: Path, raw: thumbnails.Album, tables: Tables, params: ReportParams
) -> dict[str, Any]:
    """Return the contact sheets, and of how many images each shows a part."""
    new = thumbnails.Album(root / NEW, tables.augmented)
    groups, index = tables.groups, tables.index
    every = thumbnails.turned_away(index, tables.summary, groups)
    copies = thumbnails.copies_of(groups)
    return {
        "rejected": thumbnails.rejected_frames(raw, every, tables.summary),
        "rejected_total": len(every),
        "copies": thumbnails.duplicate_groups(raw, index, groups, tables.pairs),
        "groups_total": copies["representative"].nunique(),
        "augmented": thumbnails.augmented_groups(raw, new, index, tables.augmented),
        "augmented_total": len(tables.augmented),
        "parents_total": tables.augmented["parent"].nunique(),
        **leaks_and_conflicts.describe(
            raw, index, tables.records, groups, tables.pairs, tables.split, params
        ),
    }


def headline(flow: Flow) -> str:
    """Return the page's first sentence."""
    files, kept = flow.files, flow.steps[-1].left
    return f"From {files:,} files, {kept:,} distinct, usable images."


def describe_figures(flow: Flow, page: dict[str, Any]) -> list[dict[str, str]]:
    """Return the few numbers that stand at the top."""
    lost = [pair for step in flow.steps for pair in step.lost]
    copies = sum(count for reason, count in lost if reason.startswith(COPIES))
    train, validation, test = (branch.images for branch in flow.branches)
    figures = [
        (f"{page['rejected_total']:,}", "files or images rejected for themselves"),
        (f"{copies:,}", "copies recognised and set aside"),
        (f"{train:,} · {validation:,} · {test:,}", "images to train, validate and test on"),
    ]
    best = page["auc"] or next((m for m in page["measures"] if m.value is not None), None)
    if best and best.value is not None and page["task"] != "none":
        figures.append((f"{best.value:.3f}", f"{best.name} on the test split"))
    return [{"value": value, "name": name} for value, name in figures]


def describe_settings(params: ReportParams) -> str:
    """Return the parameters as YAML, without download (private paths) and engine (no effect)."""
    values = params.model_dump(mode="json", exclude={"engine", "download"})
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def render(page: dict[str, Any]) -> str:
    """Return the page; every value is escaped unless it is Markup that we drew."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["share"] = lambda part, of: f"{100 * part / of if of else 0:.1f}"
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    environment.filters["real"] = metric_tables.real
    environment.filters["interval"] = lambda measure: metric_tables.between(
        measure.low, measure.high
    )
    environment.filters["percent"] = metric_tables.percent
    environment.filters["two"] = lambda value: f"{value:,.2f}"
    environment.filters["fixed"] = lambda value: f"{value:.1f}"
    environment.filters["brief"] = brief
    environment.filters["plain"] = plain
    return environment.get_template("page.html.j2").render(page)


def plain(value: Any) -> str:
    """Return a metric as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def brief(text: str, most: int = 80) -> str:
    """Return a name that is no longer than a line or two; names come from users and have no end.

    >>> brief("mountain lion", 8)
    'mountai…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def run(root: Path, params: ReportParams) -> None:
    """Write `metrics/report.html` and the data of its plots."""
    tables = Tables(root)
    metrics = metric_values.read_metrics(root / METRICS, ["train", "evaluate"])
    kinds = json.loads((root / SOURCES).read_text()) if (root / SOURCES).exists() else {}
    flow = trace(tables.index, tables.summary, tables.groups, tables.split, tables.augmented)
    progress = Progress("report", len(tables.index))
    sources = describe_sources(tables, kinds)
    raw = thumbnails.Album(root / RAW, tables.index)
    kept = label_distribution.kept_images(tables.groups, tables.split, params)
    described, plots = profile.describe(raw, kept, tables.summary, params)
    rows = check_scores.shown(tables.summary, tables.groups)
    page: dict[str, Any] = {
        "task": params.train.task,
        "headline": headline(flow),
        "sources": sources,
        "simulated": any(source["kind"] == "sample" for source in sources),
        "flow": flow,
        "flags": describe_flags(tables.summary),
        "labels": label_distribution.describe(tables.groups, kept, params),
        "min_class_images": params.dedupe.min_class_images,
        "profile": described,
        "checks": check_scores.describe(
            raw, rows, thumbnails.first_names(tables.index), params.clean
        ),
        "strengths": augmentation_preview.describe(
            raw, rows, thumbnails.first_names(tables.index), params
        ),
        "training": model_sections.describe_training(root / PLOTS, metrics),
        "mistakes": worst_predictions.describe(
            raw, tables.index, tables.predictions, params.train.normal_class
        ),
        "settings": describe_settings(params),
        **describe_sheets(root, raw, tables, params),
        **model_sections.describe_test(root / PLOTS, tables.predictions, metrics, params),
    }
    for name, data in plots.items():
        write_text(root / PLOTS / "report" / f"{name}.csv", to_csv(data))
    write_text(root / TARGET, render({**page, "figures": describe_figures(flow, page)}))
    model = json.loads((root / MODEL).read_text())
    calibration = metric_values.read_plot(root / PLOTS / "evaluate/calibration.csv")
    told = model_card.describe(model, kept, page, metrics, calibration, params)
    write_text(root / CARD, model_card.render(page, told))
    progress.close(flow.steps[-1].left, dict(pair for step in flow.steps for pair in step.lost))


if __name__ == "__main__":
    run_as_script(run, ReportParams)
