from types import SimpleNamespace

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.models.training import phases
from darkroom.models.training.checkpoints import TrainingState


def make_phase(validate, rate=0.1):
    batch = np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32)
    model = SimpleNamespace(weights=[])
    return phases.Phase(
        "head", model, epochs=2, learning_rate=rate, steps=2,
        batches=lambda epoch: iter([batch] * 2), validate=validate, loss=None,
    )  # fmt: skip


def test_a_loss_that_is_no_number_names_the_rate_to_lower():
    phase = make_phase(lambda: float("nan"))
    with pytest.raises(
        UserError, match=r"validation loss nan.*lower train\.learning_rate\.head .*it is 0\.1"
    ):
        phases._run_epoch(phase, TrainingState("head"), lambda *_: 0.5)
