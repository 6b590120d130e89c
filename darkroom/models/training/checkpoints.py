"""The state of an unfinished training, in one file, so that a killed one ends with the same bytes.

It holds every variable of the network and the optimizer, also the states of random layers, the
best weights so far and the history. A checkpoint of other data or parameters is never resumed.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darkroom.core.files import write_bytes

Arrays = list[NDArray[Any]]
NOTES = ("phase", "epoch", "best_epoch", "best_loss", "history")
PARTS = ("variables", "average", "best_weights")
HistoryRow = dict[str, Any]  # epoch, phase, loss, val_loss


@dataclass
class TrainingState:
    """How far a phase has come."""

    phase: str
    epoch: int = 0  # epochs of this phase that are finished
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[HistoryRow] = field(default_factory=list)  # of this phase and earlier ones
    variables: Arrays = field(default_factory=list)
    average: Arrays = field(default_factory=list)  # of the weights over the last epochs
    best_weights: Arrays = field(default_factory=list)  # the average at the best epoch


class Checkpoint:
    """One file in the scratch folder; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        """Use `folder`; `fingerprint` stands for data, parameters and code."""
        self.folder = folder
        self._path = folder / "checkpoint.npz" if folder else None
        self._fingerprint = fingerprint

    def cache(self, name: str) -> Path | None:
        """Return the folder for the features called `name` of this training."""
        return self.folder and self.folder / "features" / self._fingerprint / name

    def save(self, state: TrainingState) -> None:
        """Write the state in one step."""
        if self._path is None:
            return
        notes = {name: getattr(state, name) for name in NOTES} | {"fingerprint": self._fingerprint}
        arrays = {
            f"{part}/{i:05d}": array
            for part in PARTS for i, array in enumerate(getattr(state, part))
        }  # fmt: skip
        stream = io.BytesIO()
        np.savez(stream, notes=np.array(json.dumps(notes)), **arrays)
        write_bytes(self._path, stream.getvalue())

    def load(self) -> TrainingState | None:
        """Return the saved state, None when there is none or it belongs to another training."""
        if self._path is None or not self._path.exists():
            return None
        with np.load(self._path, allow_pickle=False) as saved:
            notes = json.loads(str(saved["notes"]))
            if notes.pop("fingerprint") != self._fingerprint:
                return None
            names = sorted(saved.files)
            arrays: dict[str, Any] = {
                part: [saved[name] for name in names if name.startswith(f"{part}/")]
                for part in PARTS
            }
        return TrainingState(**notes, **arrays)


def read_values(variables: Sequence[Any]) -> Arrays:
    """Return copies of the values of Keras variables."""
    return [np.array(variable.numpy()) for variable in variables]


def assign(variables: Sequence[Any], values: Arrays) -> None:
    """Set Keras variables to saved values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
