"""The metrics of a table of predictions, by the task of the model that made them."""

import pandas as pd

from darkroom.core.files import MetricTree
from darkroom.core.params.evaluate import EvaluateParams
from darkroom.evaluation.classification import choose_positive, evaluate_classes
from darkroom.evaluation.metrics import Settings
from darkroom.evaluation.one_class import evaluate_one_class
from darkroom.evaluation.rating import evaluate_ratings
from darkroom.models.saved import SavedModel


def evaluate_predictions(
    predictions: pd.DataFrame, model: SavedModel, params: EvaluateParams, seed: int
) -> MetricTree:
    """Return every metric of the test split; operating points are chosen on validation."""
    settings = Settings.of(params, seed)
    test, validation = (predictions[predictions["split"] == s] for s in ("test", "validation"))
    if model.scale is not None:
        ranges = params.score_ranges
        return evaluate_ratings(test, validation, params.cutoff, model.scale, ranges, settings)
    if model.normal_class is not None:
        return evaluate_one_class(test, validation, model.normal_class, settings)
    positive = choose_positive(model.classes, params.positive_class)
    return evaluate_classes(test, validation, model.classes, positive, settings)
