"""What `data/model/model.json` says of a model."""

from collections.abc import Sequence
from typing import Any

from darkroom.core.params.train import TrainParams
from darkroom.filters.preprocess import Step
from darkroom.models.training.examples import TrainingSet
from darkroom.models.training.fit import FittedModel

ONE_CLASS = ("normal_class", "outlier_method", "reference_classes")


def describe_model(
    fitted: FittedModel, data: TrainingSet, params: TrainParams, steps: Sequence[Step], seed: int
) -> dict[str, Any]:
    """Return the contents of `model.json`; nothing depends on when or where it was made."""
    return {
        "task": params.task,
        "classes": list(data.classes),
        "scale": params.scale.model_dump() if params.task == "rating" else None,
        "preprocess": list(steps),
        "input": {"size_px": fitted.size_px, "rule": fitted.rule, "channels": "RGB, 0 to 255"},
        "seed": seed,
        "parameters": params.model_dump(),
        "training_data": data.digest,
        **{name: getattr(params, name) for name in ONE_CLASS if params.task == "one_class"},
    }
