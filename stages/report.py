"""Write one self-contained page on the data set and the model, its plots' data, and a model card.

Leaves `metrics/report.html`, `metrics/model_card.md` (Markdown, for git and whoever is given the
model) and `metrics/plots/report/*.csv`, which `dvc plots diff` compares.

Reads every table in data/, the metrics and plots of the other stages, and for thumbnails and tones
what clean decoded, the previews. The page loads nothing from anywhere (styles, charts and pictures
are inside it, and a content security policy forbids the rest), has no script, and is equal byte for
byte when its inputs are. Names and labels come from the user's files, so that Jinja escapes every
one of them. Charts are drawn from the tables that the stages wrote. Sheets show a fixed number of
images, chosen the same way every time, so that the page stays below 3 MB.

Run alone with `python -m stages.report`.
"""

import json
from pathlib import Path
from typing import Any

from darkroom.core.csv import to_csv
from darkroom.core.files import write_text
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.core.tables import AUGMENTED, GROUPS, INDEX, PAIRS, RECORDS, SPLIT, read_table
from darkroom.images.previews import Place, Previews
from darkroom.report import label_distribution, model_card, model_sections, page, profile
from darkroom.report.image_store import ImageStore
from darkroom.report.params import ReportParams
from darkroom.report.render import render_card, render_page

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


def read_inputs(root: Path) -> page.Inputs:
    """Read every table; their size in memory grows with the number of records."""
    index = read_table(root / RAW / "index.parquet", INDEX)
    augmented = read_table(root / NEW / "index.parquet", AUGMENTED)
    places = augmented.set_index("key").assign(folder=str(NEW))[list(Place._fields)]
    return page.Inputs(
        index=index,
        summary=read_table(root / SUMMARY),
        pairs=read_table(root / DEDUPE / "pairs.parquet", PAIRS),
        groups=read_table(root / DEDUPE / "groups.parquet", GROUPS),
        records=read_table(root / DEDUPE / "records.parquet", RECORDS),
        split=read_table(root / SPLITS, SPLIT),
        augmented=augmented,
        predictions=read_table(root / PREDICTIONS),
        images=ImageStore(Previews(root)),
        augmented_images=ImageStore(Previews(root, places)),
        sources=_read_json(root / SOURCES),
        metrics={stage: _read_json(root / METRICS / f"{stage}.json")
                 for stage in ("train", "evaluate")},
        plots=root / PLOTS,
    )  # fmt: skip


def _read_json(path: Path) -> dict[str, Any]:
    """Return the contents of a file, none where a stage wrote no such file."""
    return json.loads(path.read_text()) if path.exists() else {}


def run(root: Path, params: ReportParams) -> None:
    """Write `metrics/report.html`, the data of its plots, and `metrics/model_card.md`."""
    inputs = read_inputs(root)
    progress = Progress("report", len(inputs.index))
    kept = label_distribution.kept_images(inputs.groups, inputs.split, params)
    described, plots = profile.describe(inputs.images, kept, inputs.summary, params)
    contents = page.describe(inputs, kept, described, params)
    for name, data in plots.items():
        write_text(root / PLOTS / "report" / f"{name}.csv", to_csv(data))
    write_text(root / TARGET, render_page(contents))
    model = json.loads((root / MODEL).read_text())
    calibration = model_sections.read_plot(root / PLOTS / "evaluate/calibration.csv")
    card = model_card.describe(model, kept, contents, inputs.metrics, calibration, params)
    write_text(root / CARD, render_card({**contents, **card}))
    progress.close(contents["flow"].kept, contents["flow"].removed)


if __name__ == "__main__":
    run_as_script(run, ReportParams)
