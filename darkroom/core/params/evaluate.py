"""Section `evaluate`: what is measured on the test split."""

from typing import Annotated

from pydantic import Field

from darkroom.core.params.section import Section


class Costs(Section):
    """What each kind of error costs; only their ratio matters."""

    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]


class EvaluateParams(Section):
    """What is measured on the test split."""

    cutoff: float
    positive_class: str | None
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None
    specificity: Annotated[float, Field(gt=0, lt=1)]
    costs: Costs | None
    partial_auc_below: Annotated[float, Field(gt=0, le=1)]
    score_ranges: Annotated[int, Field(ge=2)]
    bootstrap: Annotated[int, Field(ge=100)]
