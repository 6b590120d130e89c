"""What one revision has to be compared with: read through DVC, from its cache or its remote.

Git holds `metrics/evaluate.json` and `params.yaml`; DVC holds `data/predictions.parquet` and
`data/split.parquet`. Nothing is checked out, and nothing in the workspace changes.
"""

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from darkroom.core.errors import UserError
from darkroom.core.params.load import FILE
from darkroom.core.params.scale import Scale
from darkroom.core.tables import SPLIT
from darkroom.core.validation_errors import describe_errors
from darkroom.core.yaml import parse_yaml

PREDICTIONS = "data/predictions.parquet"
SPLITS = "data/split.parquet"
METRICS = "metrics/evaluate.json"
WORKSPACE = "the workspace"

Checked = TypeVar("Checked", bound=BaseModel)


class _Train(BaseModel):
    scale: Scale
    normal_class: str | None = None  # older revisions have none


class _Evaluate(BaseModel):
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    bootstrap: Annotated[int, Field(ge=100)]


class RevisionParams(BaseModel):
    """The parameters that a comparison needs; others of a revision may be older than today's."""

    seed: int
    train: _Train
    evaluate: _Evaluate


class _Metrics(BaseModel):
    """What a comparison needs of `metrics/evaluate.json`, which a merge may have broken."""

    task: str | None = None
    cutoff: FiniteFloat | None = None
    positive_class: str | None = None


class Revision(NamedTuple):
    """One of two that are compared. `test` holds its predictions for the test split, by key."""

    name: str
    task: str
    test: pd.DataFrame
    splits: pd.DataFrame
    params: RevisionParams
    cutoff: float | None  # rating
    positive_class: str | None  # classification; None: each class against the rest


def read_revision(root: Path, rev: str | None) -> Revision:
    """Return what a git revision holds, or the workspace for None.

    Raises UserError naming what is missing and how to get it.
    """
    from dvc.api import DVCFileSystem  # a second to import, and only here

    return _read(_Files(WORKSPACE if rev is None else rev, DVCFileSystem(str(root), rev=rev)))


def read_folder(folder: Path, name: str) -> Revision:
    """Return what a folder holds that is no repository. Raises UserError."""
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem

    return _read(_Files(name, DirFileSystem(str(folder), LocalFileSystem())))


def _read(files: "_Files") -> Revision:
    metrics = _check(_Metrics, files.read_json(METRICS), f"{METRICS} of {files.name}")
    if metrics.task not in {"rating", "classification", "one_class"}:
        raise UserError(
            f"{files.name}: {METRICS} says task {metrics.task!r}; expected rating, classification"
            " or one_class: without a model there is nothing to compare"
        )
    predictions = files.read_table(PREDICTIONS, ["key", "split", "split_group"])
    test = predictions[predictions["split"] == "test"].sort_values("key", ignore_index=True)
    if test.empty:
        raise UserError(f"{files.name}: {PREDICTIONS} has no test images: nothing to compare")
    params = parse_yaml(files.read(FILE), f"{files.name}: {FILE}")
    return Revision(
        name=files.name,
        task=metrics.task,
        test=test,
        splits=files.read_table(SPLITS, SPLIT.names),
        params=_check(RevisionParams, params, f"{FILE} of {files.name}"),
        cutoff=metrics.cutoff,
        positive_class=metrics.positive_class,
    )


class _Files:
    """The files of one revision, as they were then; `tree` is a file system of fsspec."""

    def __init__(self, name: str, tree: Any) -> None:
        self.name, self._tree = name, tree

    def read(self, path: str) -> bytes:
        from dvc.exceptions import DvcException
        from dvc.scm import SCMError

        try:
            self._tree.info(path)
        except FileNotFoundError as error:
            raise UserError(
                f"{self.name} has no {path}: expected a revision in which the stage evaluate has"
                " run and whose dvc.lock was committed"
            ) from error
        except SCMError as error:
            raise UserError(
                f"{self.name}: {error}; expected a branch, tag or commit of the git and DVC"
                " repository that you are in (`git log --oneline`, `git fetch`)"
            ) from error
        except DvcException as error:
            raise UserError(f"{self.name}: DVC cannot read this revision: {error}") from error
        try:
            with self._tree.open(path, "rb") as handle:
                return bytes(handle.read())
        except Exception as error:  # what a remote's driver raises is documented nowhere
            raise UserError(
                f"{self.name}: DVC knows {path} but cannot read it: {error}. Its bytes are neither"
                " in the cache nor at a remote: get them with `dvc fetch --all-commits`, or run"
                " `dvc repro` and `dvc push` where that revision was made"
            ) from error

    def read_table(self, path: str, columns: list[str]) -> pd.DataFrame:
        try:
            table = pq.read_table(pa.BufferReader(self.read(path)))
        except pa.ArrowException as error:
            raise UserError(f"{self.name}: {path} is no whole Parquet file: {error}") from error
        require_columns(table.column_names, columns, self.name, path)
        return table.to_pandas()

    def read_json(self, path: str) -> Any:
        try:
            return json.loads(self.read(path))
        except ValueError as error:
            raise UserError(f"{self.name}: {path} is no JSON: {error}") from error


def require_columns(found: list[str], wanted: list[str], name: str, path: str) -> None:
    """Raise UserError where a table of a revision lacks a column, as an older version's may."""
    if missing := [column for column in wanted if column not in found]:
        raise UserError(
            f"{name}: {path} lacks the columns {', '.join(missing)}: it was written by another"
            " version of the pipeline. Run `dvc repro` in that revision, or compare with a newer"
        )


def _check(model: type[Checked], values: Any, where: str) -> Checked:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(describe_errors(error, model))
        raise UserError(f"{where} has wrong values: {problems}") from error
