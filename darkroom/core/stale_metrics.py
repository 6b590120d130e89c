"""No metrics of an earlier or another data set outlive a stage that failed on this one."""

import logging
from pathlib import Path

from darkroom.core.yaml import read_yaml

METRICS = Path("metrics")

logger = logging.getLogger(__name__)


def remove_stale_metrics(root: Path, stage: str) -> None:
    """Remove what `stage` and those after it in dvc.yaml wrote into `metrics/` before.

    Their data stay. DVC brings back from its run cache what turns out to be right after all.
    """
    path = root / "dvc.yaml"
    stages = read_yaml(path)["stages"] if path.exists() else {}
    names = list(stages)
    removed = []
    for name in names[names.index(stage) :] if stage in names else []:
        for entry in [*stages[name].get("outs", []), *stages[name].get("metrics", [])]:
            out = Path(entry if isinstance(entry, str) else next(iter(entry)))
            if METRICS in out.parents and (root / out).is_file():
                (root / out).unlink()
                removed.append(out.as_posix())
    if removed:
        logger.warning(
            "%s failed: %d files in metrics/ were of an earlier run and are removed (%s, …)",
            stage, len(removed), removed[0],
        )  # fmt: skip
