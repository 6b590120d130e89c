"""Find copies among the kept images, keep the best of each group, and settle the labels.

Enters: `data/raw` (labels), `data/previews` (pictures), `data/clean`, `data/embeddings`. Leaves
`pairs.parquet`, `groups.parquet`, `records.parquet` in `data/dedupe`, and `metrics/dedupe.json`.

- Candidates are the nearest neighbours with a normalised similarity (`darkroom.dedupe.normalise`)
  of at least `dedupe.candidate_threshold`, and pairs of which one may lie within the other
  (`darkroom.dedupe.regions`).
- Every candidate is verified (`darkroom.dedupe.verify`): a pair is a copy when its alignment
  explains the picture; `dedupe.threshold` is the similarity from which weaker evidence does.
- What would be rejected and is not plainly the same is compared with what stays once more, at full
  size (`darkroom.dedupe.confirm`): where the two show different things, both stay.
- A group holds a representative, the best image (`darkroom.dedupe.representative`), and the images
  verified against it: no chains.
- What is rejected of that, `dedupe.reject` says: nothing but files of the same bytes, edits (copies
  as above), or all that is near.
- Two copies that have different labels stay where `dedupe.labelled_apart` is `keep`; otherwise both
  or the worse one go, if the pictures leave no doubt. No group mixes labels.
- Two copies that are rated differently (both have ratings, and these differ) stay where
  `dedupe.rated_apart` is `keep`: to a model of quality a blurred copy is another example.
- Images of a normalised similarity of `dedupe.family_threshold`, or that share a scene, are one
  family, as far as `dedupe.relatives` says, unless everything in the set is as near: all stay, and
  `split` keeps them together.
- A person's decisions (`data/review.csv`) stand above all of this: pairs called `duplicate` are
  merged, those called `not_duplicate` never share a group (though they stay one family), an image
  to `keep` is nobody's copy, and a `label` or `mean` replaces what the records say.
- Records of one key that disagree on their label are settled as `dedupe.label_conflict` says.
- Classes with fewer than `dedupe.min_class_images` images are counted and logged, and with
  `dedupe.small_classes: reject` left out. Images without a label or votes, where others have some,
  are counted and logged.
- Where no image is kept, it stops; a class that loses its last image here is named.

Alone: `python -m stages.dedupe`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from darkroom.core import shards, tables
from darkroom.core.errors import UserError
from darkroom.core.files import write_metrics
from darkroom.core.params.dedupe import DedupeParams
from darkroom.core.params.embed import EmbedParams
from darkroom.core.params.engine import EngineParams
from darkroom.core.params.section import StageParams
from darkroom.core.params.split import SplitParams
from darkroom.core.progress import Progress
from darkroom.core.script import run_as_script
from darkroom.dedupe.counts import (
    count_leaks,
    count_review,
    say_everything_is_near,
    say_labelled_otherwise,
    summarise,
)
from darkroom.dedupe.normalise import load_background, unusual_similarity
from darkroom.dedupe.pairs import find_pairs, take_out_different
from darkroom.dedupe.representative import rank_images
from darkroom.dedupe.statuses import group_images, mark_related, record_statuses
from darkroom.images.grey_range import read_range
from darkroom.images.previews import Previews
from darkroom.labels.decisions import read_decisions
from darkroom.labels.lost_classes import refuse_nothing_kept, say_lost_classes
from darkroom.labels.resolve import (
    SMALL_CLASS,
    check_labels,
    leave_out_small_classes,
    resolve_records,
    standard_splits,
)

RAW = Path("data/raw")
SUMMARY = Path("data/clean/summary.parquet")
EMBEDDINGS = Path("data/embeddings")
TARGET = Path("data/dedupe")
METRICS = Path("metrics/dedupe.json")
SCRATCH = Path(".darkroom/dedupe")
REMEDIES = {
    "label_conflict": "correct the labels, or set dedupe.label_conflict to majority or"
    " dedupe.labelled_apart to keep",
    "copy": "if these are no copies, raise dedupe.threshold or set dedupe.reject to exact",
    "exact_duplicate": "correct the labels: other classes have the same files",
    "near_duplicate": "set dedupe.reject to edits",
    SMALL_CLASS: "lower dedupe.min_class_images, or set dedupe.small_classes to keep",
}


class Params(StageParams):
    """The sections of params.yaml that dedupe reads."""

    engine: EngineParams
    embed: EmbedParams
    dedupe: DedupeParams
    split: SplitParams


def run(root: Path, params: Params) -> None:
    """Settle labels, find copies, choose representatives."""
    index = tables.read_table(root / RAW / "index.parquet", tables.INDEX)
    summary = tables.read_table(root / SUMMARY)
    kept = summary[summary["status"] == "kept"]
    decisions = read_decisions(root)
    keys = resolve_records(index, params.dedupe, params.split, decisions).merge(
        kept.drop(columns=["status", "reason"]), on="key", how="inner"
    )
    refuse_conflicts(keys, params.dedupe)
    progress = Progress("dedupe", len(keys))
    settled = keys[keys["status"] == "kept"]
    names, vectors = tables.read_vectors(root / EMBEDDINGS, settled["key"])
    sizes = settled.set_index("key").loc[names, ["width", "height"]]
    aspects = (sizes["width"] / sizes["height"]).to_numpy(np.float64)
    background = load_background() if params.embed.network == "bundled" else None
    pictures, scratch = Previews(root), root / SCRATCH
    if grey_range := read_range(root):  # evidence from other greys says nothing
        scratch /= f"greys-{grey_range.black:g}-{grey_range.white:g}"
    pairs = find_pairs(
        pictures, root / EMBEDDINGS, names, aspects, vectors, background, rank_images(settled),
        params.dedupe, params.engine, scratch,
    )  # fmt: skip
    unusual = unusual_similarity(vectors, background)
    say_everything_is_near(unusual, params.dedupe)
    pairs = take_out_different(
        mark_related(pairs, params.dedupe, unusual),
        lambda pairs: group_images(keys, pairs, params.dedupe, decisions), pictures,
        shards.stored(index).set_index("key"), params.engine, scratch,
    )  # fmt: skip
    progress.advance(len(settled))
    groups = group_images(keys, pairs, params.dedupe, decisions)
    refuse_conflicts(groups, params.dedupe)
    leave_out_small_classes(groups, params.dedupe)
    index["official_split"] = standard_splits(index["official_split"], params.split)
    records = record_statuses(index, summary, groups)
    refuse_nothing_kept("dedupe", groups, REMEDIES, f"Records are in {RAW}/index.parquet.")
    passed = records["key"].isin(keys["key"])
    say_lost_classes("dedupe", records[passed].assign(label=index.loc[passed, "label"]), REMEDIES)
    metrics = summarise(groups, pairs, records, params.dedupe)
    say_labelled_otherwise(metrics)
    metrics["leaks"] = count_leaks(index["official_split"], records)
    metrics["review"] = count_review(groups, decisions)
    metrics["labels"] = check_labels(groups, params.dedupe.min_class_images)
    tables.write_table(pairs, root / TARGET / "pairs.parquet", tables.PAIRS, ["key_a", "key_b"])
    tables.write_table(groups, root / TARGET / "groups.parquet", tables.GROUPS)
    tables.write_table(
        records, root / TARGET / "records.parquet", tables.RECORDS, ["source", "name"]
    )
    write_metrics(root / METRICS, metrics)
    progress.close(kept=metrics["kept"], rejected=metrics["rejected"])


def refuse_conflicts(keys: pd.DataFrame, params: DedupeParams) -> None:
    """Stop where labels conflict and the user wants to be stopped. Raises UserError."""
    conflicts = keys.loc[keys["label_conflict"], "key"]
    if len(conflicts) and params.label_conflict == "error":
        raise UserError(
            f"{len(conflicts)} images have records, or copies, with different labels (first: "
            f"{', '.join(conflicts.head(5))}; see data/raw/index.parquet). Correct the labels, or "
            "set dedupe.label_conflict to drop or majority in params.yaml."
        )


if __name__ == "__main__":
    run_as_script(run, Params)
