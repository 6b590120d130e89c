"""Show a training while it runs: the newest epoch of each phase, through DVCLive.

`dvc exp show` and `dvc metrics show` beside a running train read `metrics/live/metrics.json`, and
editors are told of each epoch. The curves are in `history.csv` alone, which train renews with every
epoch, so DVCLive is given numbers and no plots. It saves no experiment, writes no dvc.yaml and
sends nothing anywhere. The file is a function of the history alone: a killed and resumed training
leaves the same bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.models.training.checkpoints import HistoryRow

Watch = Callable[[list[HistoryRow]], None]  # is given the history so far, one row per epoch


def unwatched(history: list[HistoryRow]) -> None:
    """Show nothing."""


@contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """Give a function that shows the history in `folder`/metrics.json."""
    from dvclive import Live  # type: ignore[attr-defined]  # it re-exports without saying so

    class Quiet(Live):
        """DVCLive that leaves repository and network alone."""

        def _init_dvc(self) -> None:
            # Its own makes a DVC repository where there is none, and fails before the first commit.
            self._dvc_file = "dvc.yaml"

        def _init_studio(self) -> None:
            self._studio_events_to_skip = {"start", "data", "done"}

    with Quiet(str(folder), save_dvc_exp=False, dvcyaml=None) as live:

        def show(history: list[HistoryRow]) -> None:
            live.summary = newest(history)
            live.step = len(history)
            live.next_step()

        yield show


def newest(history: list[HistoryRow]) -> dict[str, dict[str, float]]:
    """Return the last epoch of each phase, counted within the phase.

    >>> newest([{"epoch": 1, "phase": "head", "loss": 0.5, "val_loss": 0.4}])
    {'head': {'epoch': 1, 'loss': 0.5, 'val_loss': 0.4}}
    """
    found: dict[str, dict[str, float]] = {}
    for row in history:
        epoch = found.get(row["phase"], {"epoch": 0})["epoch"] + 1
        found[row["phase"]] = {"epoch": epoch, "loss": row["loss"], "val_loss": row["val_loss"]}
    return found
