"""Inspect every image: decode it whole, once, measure it, and say which ones are unusable.

Enters: `data/raw`. Leaves: `data/clean/parts` (measurements of each stored image, one part per
shard), `data/previews` (a small picture of each that is larger, one shard per raw shard),
`data/clean/summary.parquet` (status, reason and flags), `data/clean/grey_range.json` (what is black
and white of deep greys, null without any) and `metrics/clean.json`; of each key that has a record
which its source still lists.

- An image that does not decode to its end is `rejected`, and the fault is its reason (`empty`,
  `not_an_image`, `unsupported_format`, `truncated`, `corrupt`, `too_many_pixels`). One that ends
  its decoder is `failed` (`decoder_crashed`, `decoder_hung`, `decoder_out_of_memory`).
- Each check gives a score in [0, 1], 1 = fine, and a flag where it is below its threshold
  (`darkroom.checks.scores`, `outliers`); those named in `clean.reject` reject, the
  others inform. `too_small` and `too_elongated` are limits without a score.
- What an image has relative to the others (odd size, resolution, file size) is computed for the
  summary from all that decode, so that parts stay functions of the bytes.
- Measuring knows no threshold: changing one decodes nothing again.
- A person's decisions (`data/review.csv`) stand above flags: `reject` rejects with the reason
  `review`, `keep` brings back what a flag rejected, though never an image that does not decode.
- Nothing is deleted or edited: later stages read the summary.

Alone: `python -m stages.clean`.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from darkroom.checks import issues, measure
from darkroom.core import shards, tables
from darkroom.core.failure_limit import stop_if_too_many
from darkroom.core.files import MetricTree, write_metrics
from darkroom.core.params.clean import CleanParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.section import StageParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.images.grey_range import SIXTEEN_BITS, GreyRange, find_range, write_range
from darkroom.labels.decisions import REVIEW, Decisions, read_decisions
from darkroom.labels.lost_classes import refuse_nothing_kept, say_lost_classes
from darkroom.workers.mapper import map_shards

RAW = Path("data/raw")
PARTS = Path("data/clean/parts")
PREVIEWS = Path("data/previews")
TARGET = Path("data/clean/summary.parquet")
METRICS = Path("metrics/clean.json")
SCRATCH = Path(".darkroom/clean")

logger = logging.getLogger(__name__)


class Params(StageParams):
    """The sections of params.yaml that clean reads."""

    engine: EngineParams
    clean: CleanParams


def wanted(index: pd.DataFrame) -> set[str]:
    """Return the keys with at least one record that is neither failed nor withdrawn."""
    return set(index.loc[(index["status"] == "kept") & index["key"].notna(), "key"])


def faults(parts: pd.DataFrame, index: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Return the fault of each broken image, and a record of it as SOURCE:NAME."""
    broken = parts[parts["fault"].notna()]
    records = index[index["key"].isin(broken["key"])].drop_duplicates("key").set_index("key")
    names = (records["source"] + ":" + records["name"]).reindex(broken["key"])
    return zip(broken["fault"], names, strict=True)


def count_review(summary: pd.DataFrame, decided: pd.DataFrame, decisions: Decisions) -> MetricTree:
    """Return what the decisions changed, and how many wait for images that are not here."""
    flagged = summary["status"] == "rejected"
    return {
        "rejected": int((decided["reason"] == "review").sum()),
        "kept_despite_flags": int((flagged & (decided["status"] == "kept")).sum()),
        "waiting": decisions.waiting(set(summary["key"])),
    }


def count(summary: pd.DataFrame) -> MetricTree:
    """Return the counts that `metrics/clean.json` holds; they add up to `in`."""
    by_status = {
        status: summary.loc[summary["status"] == status, "reason"].value_counts()
        for status in ("rejected", "failed")
    }
    return {
        "in": len(summary),
        "kept": int((summary["status"] == "kept").sum()),
        **{
            status: {str(reason): int(images) for reason, images in sorted(counts.items())}
            for status, counts in by_status.items()
        },
        "flags": {
            issue: int(summary[f"is_{issue}"].fillna(False).astype(bool).sum())
            for issue in issues.ISSUES
        },
    }


def measure_all(
    root: Path, params: Params, stored: pd.DataFrame, progress: Progress
) -> pd.DataFrame:
    """Measure what is new; then once more the deep greys whose set turns out to have other bits."""
    clean, given = params.clean, params.clean.grey_range
    grey_range = GreyRange(given[0], given[1], given=True) if given else SIXTEEN_BITS

    def measure_with(grey_range: GreyRange, progress: Progress, again: set[str]) -> pd.DataFrame:
        settings = measure.MeasureSettings(
            clean.max_pixels, clean.timeout_s, clean.max_memory_bytes, grey_range
        )
        map_shards(
            measure.measure_shard, stored, root / RAW, root / PARTS, root / SCRATCH,
            settings, measure.VERSION, params.engine, progress, root / PREVIEWS, again,
        )  # fmt: skip
        return tables.read_parts(root / PARTS, measure.PARTS.names)

    parts = measure_with(grey_range, progress, set())
    deep, largest = parts["grey_range"].notna(), parts["largest_grey"].dropna()
    if not given:
        grey_range = find_range(map(int, largest))
    others = measure.of_another_range(parts, grey_range)
    if others.any():
        more = Progress("clean", int(others.sum()))
        shards_again = stored.loc[stored["key"].isin(parts.loc[others, "key"]), "shard"]
        parts = measure_with(grey_range, more, set(shards_again))
        more.finish()
    write_range(root, grey_range if deep.any() else None)
    if deep.any() and (given or len(largest)):
        logger.info(
            "clean: %d deep grey images are shown from %g to %g, %s",
            deep.sum(), grey_range.black, grey_range.white,
            "as clean.grey_range says" if given else f"{int(grey_range.white).bit_length()} bits:"
            f" their largest value, or what they declare, is {int(largest.max())};"
            " clean.grey_range can say otherwise",
        )  # fmt: skip
    return parts


def run(root: Path, params: Params) -> None:
    """Measure what is new, then decide on everything."""
    decisions = read_decisions(root)
    index = tables.read_table(root / RAW / "index.parquet", tables.INDEX)
    stored = shards.stored(index)
    stored = stored[stored["key"].isin(wanted(index))]
    progress = Progress("clean", len(stored))
    parts = measure_all(root, params, stored, progress)
    stop_if_too_many(
        "clean", "clean.max_failed_fraction", faults(parts, index), len(parts),
        params.clean.max_failed_fraction,
    )  # fmt: skip
    summary = issues.summarise(parts, params.clean)
    decided = issues.apply_decisions(summary, decisions)
    remedies = issues.remedies(params.clean)
    refuse_nothing_kept("clean", decided, remedies, f"Measurements of each are in {PARTS}.")
    records = index.loc[index["status"] == "kept", ["key", "label"]]
    records = records.merge(decided[["key", "status", "reason"]], on="key")
    say_lost_classes("clean", records, remedies)
    metrics = count(decided) | {"review": count_review(summary, decided, decisions)}
    if metrics["review"]["waiting"]:
        logger.warning(
            "%s: %d decisions name images that are not here; they wait until these come back",
            REVIEW, metrics["review"]["waiting"],
        )  # fmt: skip
    tables.write_table(decided, root / TARGET, issues.SUMMARY)
    write_metrics(root / METRICS, metrics)
    progress.close(metrics["kept"], metrics["rejected"], metrics["failed"])


if __name__ == "__main__":
    run_as_script(run, Params)
