"""Section `augment`: how many new training images to make, and by what."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from darkroom.core.params.section import Positive, Section


class AugmentParams(Section):
    """How many new training images to make, and by what."""

    target: Annotated[int, Field(ge=0)]
    balance: Literal["none", "class", "score_bin"]
    operations: Literal["auto"] | list[str | dict[str, Any]]
    # a list in YAML, hence not strict
    operations_per_image: Annotated[tuple[Positive, Positive], Field(strict=False)]
    fill: Literal["reflect", "nearest", "wrap", "constant"]

    @model_validator(mode="after")
    def _least_and_most(self) -> "AugmentParams":
        least, most = self.operations_per_image
        if least > most:
            raise ValueError(f"operations_per_image: expected [least, most], got [{least}, {most}]")
        return self
