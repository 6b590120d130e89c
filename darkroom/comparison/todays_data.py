"""An older revision's code and parameters, trained on the data that the workspace has now.

A set that has grown has other test images, and a model that was trained on less may have seen some
of them. So both are to learn from the same: the code and `params.yaml` of BASE go to a temporary
copy, today's images, labels and splits are linked into it, and its stages after split run there, as
its `dvc.yaml` calls them. Below `.dvc/tmp/exps/`, where relative paths of params.yaml mean the
workspace's (`core.paths`), and where neither git nor DVC looks.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darkroom.comparison.revisions import Revision, read_folder, read_revision
from darkroom.core.errors import UserError
from darkroom.core.yaml import read_yaml

STAGES = ("augment", "train", "evaluate")  # what learns, and what says how well
COPIES = Path(".dvc/tmp/exps")


def read_trained(root: Path, rev: str) -> Revision:
    """Return what `rev` makes of today's data, to be compared. Raises UserError."""
    read_revision(root, None)  # before anything is trained: the workspace is what it is for
    with trained_today(root, rev) as copy:
        return read_folder(copy, f"{rev} on today's data")


@contextmanager
def trained_today(root: Path, rev: str) -> Iterator[Path]:
    """Give a folder with what `rev` makes of today's data; it goes afterwards. Raises UserError."""
    (root / COPIES).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compare-", dir=root / COPIES) as name:
        copy = Path(name)
        _extract(root, rev, copy)
        stages = _find_stages(copy, rev)
        _link_data(root, copy, rev, stages)
        for stage, settings in stages.items():
            sys.stderr.write(f"{rev} on today's data: {stage}\n")
            _run(copy, f"{rev}: its stage {stage}", str(settings["cmd"]))
        yield copy


def _extract(root: Path, rev: str, copy: Path) -> None:
    """Put what git holds of a revision into the copy."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo(str(root)) as repo:
            sha = resolve_rev(repo.scm, rev)
    except (DvcException, RevError) as error:
        raise UserError(
            f"{rev}: {error}; expected a branch, tag or commit of this git and DVC repository"
        ) from error
    archive = copy / ".archive.tar"
    subprocess.run(["git", "archive", "--output", str(archive), sha], cwd=root, check=True)
    with tarfile.open(archive) as tar:
        tar.extractall(copy, filter="data")
    archive.unlink()


def _find_stages(copy: Path, rev: str) -> dict[str, Mapping[str, Any]]:
    """Return the stages to run, in order. Raises UserError where the revision has none."""
    path = copy / "dvc.yaml"
    known = (read_yaml(path) if path.exists() else {}).get("stages", {})
    missing = [stage for stage in ("train", "evaluate") if stage not in known]
    if missing:
        raise UserError(
            f"{rev} has no stage {' and no stage '.join(missing)} in dvc.yaml: expected a revision"
            " of this pipeline"
        )
    return {stage: known[stage] for stage in STAGES if stage in known}


def _link_data(root: Path, copy: Path, rev: str, stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Link what the stages read and do not make from the workspace."""
    made = {path for each in stages.values() for path in _paths(each, "outs")}
    for stage, settings in stages.items():
        for path in _paths(settings, "deps"):
            if path in made or (copy / path).exists():
                continue
            if not (root / path).exists():
                raise UserError(
                    f"{rev}: its stage {stage} reads {path}, which the workspace has not: run"
                    " `dvc repro` here, or compare with a newer revision"
                )
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).symlink_to((root / path).resolve())


def _paths(settings: Mapping[str, Any], kind: str) -> list[str]:
    return [str(next(iter(each)) if isinstance(each, Mapping) else each)
            for each in settings.get(kind, [])]  # fmt: skip


def _run(copy: Path, what: str, command: str) -> None:
    """Run a stage's command with the copy's code. Raises UserError when it fails."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = os.environ | {"PYTHONPATH": str(copy), "PATH": tools}
    ended = subprocess.run(command, shell=True, cwd=copy, env=environment, stdout=2, check=False)
    if ended.returncode:
        raise UserError(f"{what} failed on today's data, with what is said above")
