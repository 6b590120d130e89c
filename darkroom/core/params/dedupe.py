"""Section `dedupe`: when two images are copies."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from darkroom.core.params.section import Fraction, Positive, Section


class DedupeParams(Section):
    """When two images are copies, and what then."""

    reject: Literal["exact", "edits", "all"]
    threshold: Fraction
    candidate_threshold: Fraction
    relatives: Literal["copies", "scenes", "near"]
    family_threshold: Fraction
    neighbours: Positive
    label_conflict: Literal["drop", "majority", "error"]
    labelled_apart: Literal["keep", "conflict", "reject"]
    rated_apart: Literal["keep", "reject"]
    min_class_images: Annotated[int, Field(ge=0)]
    small_classes: Literal["keep", "reject"]

    @model_validator(mode="after")
    def _in_order(self) -> "DedupeParams":
        if self.candidate_threshold > min(self.family_threshold, self.threshold):
            raise ValueError("candidate_threshold must not exceed the other two thresholds")
        return self
