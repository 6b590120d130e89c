"""Which test images two revisions share, and whether comparing on these says anything.

Refused, since the result would mislead: other tasks or classes; less than `MIN_OVERLAP` of
either revision's test images in both; and a split that has changed, so that one's model was trained
on a test image of the other, or on a relative of one. Both are evaluated against the labels and the
cutoff of HEAD, which are the latest. Images that either puts into one split group stay together.
"""

import shlex
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darkroom.comparison.revisions import PREDICTIONS, WORKSPACE, Revision, require_columns
from darkroom.core.errors import UserError
from darkroom.core.graphs import connected_components

MIN_OVERLAP = 0.8
_TOLERANCE = 1e-9  # of mean scores: counts divided in another order
_PROBABILITY = "probability_"


class Pair(NamedTuple):
    """The shared test images: `base` and `head` have the same rows, by key, and equal targets."""

    base: pd.DataFrame
    head: pd.DataFrame
    groups: NDArray[np.object_]  # (n,)
    classes: list[str]  # in order; of classification alone
    left_out_base: int  # test images of BASE alone
    left_out_head: int
    relabelled: int
    same_units: bool  # ratings: both scales go from and to the same score
    same_bins: bool
    notes: list[str]


def pair(base: Revision, head: Revision) -> Pair:
    """Return what both can be evaluated on. Raises UserError where a comparison would mislead."""
    if base.task != head.task:
        said = f"{base.name} has {base.task}, {head.name} has {head.task}"
        raise UserError(f"the tasks differ: {said}")
    _require_predictions(base)
    classes = _require_predictions(head)
    _require_same_classes(base, head)
    _require_same_split(base, head)
    shared = _shared_keys(base, head)
    rows = [one.test.set_index("key").loc[shared].reset_index() for one in (base, head)]
    units, bins, notes = _compare_scales(base, head)
    if head.task == "rating":
        before, after = (table["target_mean"] for table in rows)
        changed = (before - after).abs() > _TOLERANCE
    else:
        changed = rows[0]["target_label"] != rows[1]["target_label"]
    targets = [c for c in rows[1].columns if c.startswith("target_")]
    others = [c for c in rows[0].columns if not c.startswith("target_")]
    return Pair(
        base=pd.concat([rows[0][others], rows[1][targets]], axis=1),
        head=rows[1],
        groups=_join_groups(*rows),
        classes=classes,
        left_out_base=len(base.test) - len(shared),
        left_out_head=len(head.test) - len(shared),
        relabelled=int(changed.sum()) if units else 0,
        same_units=units,
        same_bins=bins,
        notes=notes,
    )


def _require_predictions(revision: Revision) -> list[str]:
    """Return the classes. Raises UserError for missing columns, or predictions that are none."""
    classes: list[str] = []
    if revision.task == "rating":
        bins = range(1, revision.params.train.scale.bins + 1)
        histograms = [f"{name}_{k}" for name in ("bin", "target_bin") for k in bins]
        wanted, numbers = ["target_mean", "predicted_mean", *histograms], ["predicted_mean"]
    elif revision.task == "classification":
        classes = _classes(revision)
        numbers = [_PROBABILITY + name for name in classes]
        wanted = ["target_label", "predicted_label", *(numbers or [f"{_PROBABILITY}<class>"])]
    else:
        wanted, numbers = ["target_label", "outlier_score"], ["outlier_score"]
    require_columns(list(revision.test.columns), wanted, revision.name, PREDICTIONS)
    broken = ~np.isfinite(revision.test[numbers].to_numpy(np.float64)).all(axis=1)
    if broken.any():
        raise UserError(
            f"{revision.name}: {int(broken.sum())} of {len(broken)} test predictions are no"
            f" numbers, such as that of {revision.test['key'][broken].iloc[0]}: train that model"
            " again"
        )
    if classes and revision.positive_class not in {None, *classes}:
        raise UserError(
            f"{revision.name}: metrics/evaluate.json and {PREDICTIONS} come from different runs:"
            f" the positive class {revision.positive_class!r} is none of {', '.join(classes)}. Run"
            " `dvc repro` there"
        )
    return classes


def _classes(revision: Revision) -> list[str]:
    columns = [str(name) for name in revision.test.columns]
    return [c.removeprefix(_PROBABILITY) for c in columns if c.startswith(_PROBABILITY)]


def _require_same_classes(base: Revision, head: Revision) -> None:
    """Raise UserError where the two models have other classes."""
    before, after = set(_classes(base)), set(_classes(head))
    if before != after:
        alone = [", ".join(sorted(names)) or "none" for names in (before - after, after - before)]
        raise UserError(
            f"the classes differ: {base.name} alone knows {alone[0]}, {head.name} alone {alone[1]}."
            f" {on_todays_data(base, head)}"
        )
    normal = [revision.params.train.normal_class for revision in (base, head)]
    if head.task == "one_class" and normal[0] != normal[1]:
        raise UserError(
            f"the normal classes differ: {normal[0]!r} in {base.name}, {normal[1]!r} in {head.name}"
        )


def _require_same_split(base: Revision, head: Revision) -> None:
    """Raise UserError where a model was trained on what the other is evaluated on."""
    for tested, trained in ((base, head), (head, base)):
        leaked = find_leaks(tested.splits, trained.splits)
        if leaked:
            raise UserError(
                f"the split has moved: {len(leaked)} test images of {tested.name} (or a relative of"
                f" theirs) are in the train split of {trained.name}, such as {leaked[0]}. Its model"
                f" has seen what the other is evaluated on. {on_todays_data(base, head)}"
            )


def find_leaks(tested: pd.DataFrame, trained: pd.DataFrame) -> list[str]:
    """Return the keys of `tested`'s test split that `trained` has in train, itself or its group.

    A group that an official split tears apart in `tested` itself counts by its keys alone.
    """
    test = tested[tested["split"] == "test"]
    train = trained[trained["split"] == "train"]
    torn = tested.loc[tested["split"] == "train", "split_group"]
    moved = test["split_group"].isin(train["split_group"]) & ~test["split_group"].isin(torn)
    return sorted(test.loc[moved | test["key"].isin(train["key"]), "key"])


def _shared_keys(base: Revision, head: Revision) -> list[str]:
    """Return the test keys of both, ascending. Raises UserError where they are too few."""
    keys = [set(revision.test["key"]) for revision in (base, head)]
    shared = keys[0] & keys[1]
    for revision, own in zip((base, head), keys, strict=True):
        if not shared or len(shared) < MIN_OVERLAP * len(own):
            raise UserError(
                f"only {len(shared)} of {revision.name}'s {len(own)} test images are in both"
                f" revisions ({len(shared) / len(own):.0%}); a fair comparison needs"
                f" {MIN_OVERLAP:.0%} of each revision's. {on_todays_data(base, head)}"
            )
    return sorted(shared)


def on_todays_data(base: Revision, head: Revision) -> str:
    """Return the commands that compare two revisions on the data of one."""
    first = "" if head.name == WORKSPACE else f"git switch --detach {shlex.quote(head.name)} &&"
    first += " dvc checkout && " if first else ""
    return (
        "So train the older code and parameters on the newer data, in a temporary copy:"
        f" `{first}darkroom compare {shlex.quote(base.name)} --on-todays-data`"
    )


def _compare_scales(base: Revision, head: Revision) -> tuple[bool, bool, list[str]]:
    """Return whether units and bins are the same, and the notes on it."""
    if head.task != "rating":
        return True, True, []
    if head.cutoff is None:
        raise UserError(f"{head.name}: metrics/evaluate.json has no cutoff; run `dvc repro` there")
    before, after = (revision.params.train.scale for revision in (base, head))
    units = (before.low, before.high) == (after.low, after.high)
    bins = units and before.bins == after.bins
    notes = []
    if not units:
        notes.append(
            f"the scales differ, {before.low:g} to {before.high:g} and {after.low:g} to"
            f" {after.high:g}: without RMSE, EMD and accuracy, which are in their units"
        )
    elif not bins:
        notes.append(f"{before.bins} and {after.bins} score bins: without EMD")
    if units and base.cutoff != head.cutoff:
        notes.append(f"the cutoffs differ: both are evaluated at {head.cutoff:g}, that of HEAD")
    return units, bins, notes


def _join_groups(base: pd.DataFrame, head: pd.DataFrame) -> NDArray[np.object_]:
    """Return each row's group: the connected components of both revisions' split groups."""
    before = [f"base:{name}" for name in base["split_group"]]
    after = [f"head:{name}" for name in head["split_group"]]
    component = connected_components([*before, *after], zip(before, after, strict=True))
    return np.array([component[name] for name in after], dtype=object)
