"""No metrics of an earlier or another data set outlive a stage that failed on this one."""

import logging
import shutil
from pathlib import Path

from darkroom.core.yaml import read_yaml

METRICS = Path("metrics")
ASIDE = Path(".darkroom/metrics")

logger = logging.getLogger(__name__)


def put_aside(root: Path, stage: str) -> None:
    """Take out of `metrics/` what `stage` and those after it in dvc.yaml wrote there before.

    Their data stay.
    """
    path = root / "dvc.yaml"
    stages = read_yaml(path)["stages"] if path.exists() else {}
    names = list(stages)
    removed = []
    for name in names[names.index(stage) :] if stage in names else []:
        for entry in [*stages[name].get("outs", []), *stages[name].get("metrics", [])]:
            out = Path(entry if isinstance(entry, str) else next(iter(entry)))
            if METRICS in out.parents and (root / out).is_file():
                (root / ASIDE / stage / out).parent.mkdir(parents=True, exist_ok=True)
                (root / out).replace(root / ASIDE / stage / out)
                removed.append(out.as_posix())
    if removed:
        logger.warning(
            "%s failed: %d files in metrics/ were of an earlier run and are removed (%s, …)",
            stage, len(removed), removed[0],
        )  # fmt: skip


def put_back(root: Path, stage: str) -> None:
    """Bring back what was put aside, once `stage` succeeds: DVC finds what of it still holds.

    Otherwise a wrong setting, put right, would cost another training.
    """
    aside = root / ASIDE / stage
    for path in sorted(aside.rglob("*")):
        place = root / path.relative_to(aside)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    shutil.rmtree(aside, ignore_errors=True)
