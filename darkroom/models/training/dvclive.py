"""Show a training while it runs: the last epoch of each phase, through DVCLive.

`dvc exp show` and `dvc metrics show` beside a running train read `metrics/live/metrics.json`, and
editors see each epoch. The curves are in `history.csv` alone, which train renews with every
epoch, so DVCLive is given numbers and no plots. It saves no experiment, writes no dvc.yaml and
sends nothing anywhere. The file is a function of the history alone: a killed and resumed training
leaves the same bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.models.training.checkpoints import HistoryRow

EpochCallback = Callable[[list[HistoryRow]], None]  # takes the history, one row per epoch


def ignore_history(history: list[HistoryRow]) -> None:
    """Do nothing."""


@contextmanager
def live_metrics(folder: Path) -> Iterator[EpochCallback]:
    """Give a callback that writes the last epochs of the history to `folder`/metrics.json."""
    from dvclive import Live  # type: ignore[attr-defined]  # it re-exports without saying so

    class Quiet(Live):
        """DVCLive that leaves repository and network alone."""

        def _init_dvc(self) -> None:
            # Its own makes a DVC repository where there is none, and fails before the first commit.
            self._dvc_file = "dvc.yaml"

        def _init_studio(self) -> None:
            self._studio_events_to_skip = {"start", "data", "done"}

    with Quiet(str(folder), save_dvc_exp=False, dvcyaml=None) as live:

        def log_epoch(history: list[HistoryRow]) -> None:
            live.summary = last_epochs(history)
            live.step = len(history)
            live.next_step()

        yield log_epoch


def last_epochs(history: list[HistoryRow]) -> dict[str, dict[str, float]]:
    """Return the last epoch of each phase, counted within the phase.

    >>> last_epochs([{"epoch": 1, "phase": "head", "loss": 0.5, "val_loss": 0.4}])
    {'head': {'epoch': 1, 'loss': 0.5, 'val_loss': 0.4}}
    """
    last: dict[str, dict[str, float]] = {}
    for row in history:
        epoch = last.get(row["phase"], {"epoch": 0})["epoch"] + 1
        last[row["phase"]] = {"epoch": epoch, "loss": row["loss"], "val_loss": row["val_loss"]}
    return last
